"""Scans with the same content under several names: one of them is computed, and the others get copies of its result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any

from umlite.batch.containing import contained
from umlite.batch.jobs import Job
from umlite.batch.outcome import Outcome
from umlite.batch.steps import Steps
from umlite.batch.told import Told, told
from umlite.errors import UmliteError
from umlite.products.content import content_of, size_and_time


def group_twins(jobs: Sequence[Job], steps: Steps) -> list[list[Job]]:
    """Jobs that can share a result, in the order of the first of each group.

    Only scans of equal size are read, since no others can be equal. The first job of a group has its result already
    where one of the group has.
    """
    sizes: dict[Any, list[int]] = defaultdict(list)
    for at, job in enumerate(jobs):
        sizes[_size(job, steps) or at].append(at)
    groups: dict[Any, list[int]] = defaultdict(list)
    for key, members in sizes.items():
        for at in members:
            content = _content(jobs[at]) if len(members) > 1 else None
            groups[at if content is None else (key, content)].append(at)
    ordered = sorted(groups.values())
    return [_with_done_first([jobs[at] for at in members], steps) for members in ordered]


def run_once_each(
    groups: Sequence[Sequence[Job]], steps: Steps, run: Callable[[Sequence[Job]], Generator[Told, None, None]]
) -> Generator[Told, None, None]:
    """A report of each job as it ends. A group whose first job fails is tried with the next one.

    Args:
        groups: as `group_twins` gives them.
        steps: copies results.
        run: computes jobs, and reports each as it ends.
    """
    while groups:
        others = {str(first.output): rest for first, *rest in groups}
        left: list[Sequence[Job]] = []
        with closing(run([first for first, *_ in groups])) as reports:
            for report in reports:
                yield report
                uncopied = []
                for twin in others[str(report.job.output)]:
                    outcome = None if report.error is not None else _shared(twin, report.job, steps)
                    if outcome is None:
                        uncopied.append(twin)
                    else:
                        yield told(outcome)
                if uncopied:
                    left.append(uncopied)
        groups = left


def _shared(job: Job, source: Job, steps: Steps) -> Outcome | None:
    """The outcome of a job whose twin has its result; None where it has to be computed all the same."""
    return contained(steps.skipped, job) or contained(steps.copy, job, source)


def _size(job: Job, steps: Steps) -> tuple[Any, ...] | None:
    """What equal jobs have in common and is known without reading their scans; None for one that has no equal."""
    try:
        key = steps.key(job)
        return None if key is None else (*key, size_and_time(job.scan, job.series)[0])
    except (UmliteError, OSError):
        return None  # it is told when its turn comes


def _content(job: Job) -> str | None:
    try:
        return content_of(job.scan, job.series).sha256
    except UmliteError:
        return None


def _with_done_first(jobs: list[Job], steps: Steps) -> list[Job]:
    if len(jobs) == 1:
        return jobs
    is_done = [(known := contained(steps.skipped, job)) is not None and known.error is None for job in jobs]
    return [job for _, job in sorted(zip(is_done, jobs, strict=True), key=lambda pair: not pair[0])]
