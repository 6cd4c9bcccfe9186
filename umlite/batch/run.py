"""Runs one scan after the other. A bad scan does not stop the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from umlite.batch.jobs import Job
from umlite.batch.saving import Saver
from umlite.cost.actual import Cost
from umlite.errors import UmliteError
from umlite.machine.memory import as_refusal, peak_bytes, start_peak
from umlite.outputs.temporary import existing
from umlite.progress import Progress, no_progress

if TYPE_CHECKING:
    from umlite.api import Segmentation, Segmenter
    from umlite.cost.forecast import Forecast
    from umlite.request import Request
    from umlite.results.statistics import Statistics


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job: a result with its files and its cost, or an error."""

    job: Job
    result: Segmentation | None = None
    files: tuple[Path, ...] = ()
    error: Exception | None = None
    cost: Cost | None = None
    statistics: Statistics | None = None


def run_jobs(
    segmenter: Segmenter,
    jobs: Sequence[Job],
    request: Request,
    *,
    overwrite: bool = False,
    statistics: bool = False,
    progress_of: Callable[[str], Progress] = lambda _name: no_progress,
    forecast: Forecast | None = None,
) -> Iterator[Outcome]:
    """Segment one scan after the other, and save each before the next is read. Errors of a scan become outcomes.

    No outcome is kept here: a caller that drops one before it asks for the next needs memory for only one scan.

    Args:
        segmenter: runs on every scan.
        jobs: scans and places of their results.
        request: what is asked of every scan.
        overwrite: whether existing results may be replaced.
        statistics: whether to measure every result and to write its numbers beside its masks.
        progress_of: makes a scan's `Progress` from its name.
        forecast: predicts the cost of each scan and refuses scans that are too large.

    Yields:
        One outcome per job, in order.

    Raises:
        RequestError: the request cannot be served for any scan; raised before the first.
    """
    saver = Saver(
        segmenter.check_request(request),
        {os.path.realpath(job.scan) for job in jobs},
        overwrite=overwrite,
        probabilities=request.probabilities,
        statistics=statistics,
    )

    def run(job: Job) -> Outcome:
        saver.check(job)
        start_peak()
        prepared = segmenter.prepare(job.series or job.scan, force_geometry=request.force_geometry)
        predicted = None if forecast is None else forecast.of(prepared)
        folder = existing(job.probability_folder) if request.probabilities else None
        decided = segmenter.decide(prepared, request, progress=progress_of(job.scan.name), folder=folder)
        del prepared  # the volume need not be in memory while masks are cleaned and written
        result = segmenter.finish(decided)
        del decided
        saved = saver.save(result, job)
        cost = Cost(result.timings | saved.timings, peak_bytes(), predicted)
        return Outcome(job, result, saved.files, cost=cost, statistics=saved.statistics)

    for job in jobs:
        try:
            yield run(job)
        except UmliteError as error:
            yield Outcome(job, error=error)
        except Exception as error:  # a defect of umlite must not cost the other scans: the caller reports it in full
            yield Outcome(job, error=as_refusal(error) or error)
