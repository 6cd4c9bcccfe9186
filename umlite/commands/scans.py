"""What `umlite segment` was given becomes jobs: folders, patterns, lists, DICOM series, files of jobs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from umlite.batch.inputs import Inputs, expand, without_masks
from umlite.batch.job_list import Entry, read_jobs
from umlite.batch.jobs import Job, lay_out_jobs
from umlite.commands.series import Sources, with_series
from umlite.errors import InputError, RequestError
from umlite.products.formats import Format, format_of
from umlite.products.wanted import Wanted
from umlite.request import Request
from umlite.terminal import tell


@dataclass(frozen=True)
class Given:
    """What the command line names.

    Args:
        words: files, folders, patterns, lists.
        jobs: a file of jobs; None for none.
        output: where results go.
        series: which DICOM series.
        fill_gaps: whether missing slices are interpolated.
    """

    words: Sequence[Path]
    jobs: Path | None
    output: Path | None
    series: str | None
    fill_gaps: bool


def jobs_of(given: Given, request: Request, wanted: Wanted) -> list[Job]:
    """One job per scan, no two with the same place.

    Raises:
        InputError, RequestError: as `expand`, `with_series`, `read_jobs` and `lay_out_jobs` do; or nothing was named.
    """
    if given.series is not None and not given.series.strip():
        raise RequestError("No series was named: expected numbers, UIDs, or all.", about="series")
    chosen = format_of(given.output, wanted.format, wanted.layout)
    inputs = without_masks(expand(given.words, given.output, notify=_note), notify=_note)
    entries = [] if given.jobs is None else list(read_jobs(given.jobs, request))
    if not inputs.paths and not entries:
        raise RequestError("There is nothing to segment: name a scan, a folder, a list or jobs.")
    sources = with_series(inputs.paths, given.series, fill_gaps=given.fill_gaps, roots=inputs.roots)
    asked: dict[Path, Request] = {}
    choices: dict[Path, tuple[str | None, bool]] = {}
    placed: list[Job] = []
    for entry in entries:
        choice = _choice(entry, given)
        found = _sources(entry, given)
        if entry.output is None:
            if entry.format is not None and entry.format != chosen.name:
                raise RequestError(
                    f"{entry.scan} is to be {entry.format} and has no place of its own: name its output.", about="jobs"
                )
            choices |= dict.fromkeys(found.scans, choice)
            sources.scans.extend(found.scans)
            sources.series.update(found.series)
            sources.roots.update(found.roots)
            asked |= {} if entry.request is None else dict.fromkeys(found.scans, entry.request)
        else:
            placed += [_chosen(job, choice) for job in _placed(entry, found, wanted)]
    jobs = _unplaced(sources, given.output, chosen, wanted) if sources.scans else []
    jobs = [
        _chosen(
            replace(job, series=sources.series.get(job.scan), request=asked.get(job.scan)),
            choices.get(job.scan, (given.series, given.fill_gaps)),
        )
        for job in jobs
    ]
    if not jobs and not placed:
        raise InputError("There is nothing to segment: no folder holds a scan.", about="scans")
    jobs += placed
    about = tuple(name for name, asked in (("series", given.series), ("fill_gaps", given.fill_gaps)) if asked)
    if about and all(job.series is None and os.path.isfile(job.scan) for job in jobs):
        raise RequestError("No scan is DICOM, which alone has series and slices to fill in.", about=about)
    _check_places(jobs)
    return jobs


def jobs_in(root: Path, paths: Sequence[Path], output: Path, wanted: Wanted) -> list[Job]:
    """Jobs of files and folders of DICOM that were found in `root`, whose tree the results mirror."""
    try:
        paths = without_masks(Inputs(list(paths), dict.fromkeys(paths, root)), notify=_note).paths
    except InputError as error:
        _note(str(error))
        return []
    sources = with_series(paths, None, fill_gaps=False, roots=dict.fromkeys(paths, root))
    if not sources.scans:
        return []
    jobs = _unplaced(sources, output, format_of(None, wanted.format, wanted.layout), wanted)
    return [replace(job, series=sources.series.get(job.scan)) for job in jobs]


def _unplaced(sources: Sources, output: Path | None, chosen: Format, wanted: Wanted) -> list[Job]:
    return lay_out_jobs(sources.scans, output, chosen, layout=wanted.layout, roots=sources.roots, notify=_note)


def _sources(entry: Entry, given: Given) -> Sources:
    """The scans of an entry; one that cannot be read stays, and fails when its turn comes."""
    try:
        inputs = without_masks(expand([entry.scan], given.output, notify=_note), notify=_note)
        series, fill_gaps = _choice(entry, given)
        return with_series(inputs.paths, series, fill_gaps=fill_gaps, roots=inputs.roots)
    except InputError:
        return Sources([entry.scan], {}, {})


def _choice(entry: Entry, given: Given) -> tuple[str | None, bool]:
    """Which series an entry asks for, and whether missing slices of it are interpolated."""
    return entry.series or given.series, given.fill_gaps if entry.fill_gaps is None else entry.fill_gaps


def _chosen(job: Job, choice: tuple[str | None, bool]) -> Job:
    series, fill_gaps = choice
    return replace(job, asked_series=series, fill_gaps=fill_gaps)


def _placed(entry: Entry, found: Sources, wanted: Wanted) -> list[Job]:
    """Jobs of an entry that says where its result goes; it gets its manifest even if it is one file."""
    chosen = format_of(entry.output, entry.format or wanted.format)
    laid = lay_out_jobs(found.scans, entry.output, chosen, roots=found.roots, notify=_note)
    return [
        replace(
            job,
            place=replace(job.place, with_manifest=True),
            series=found.series.get(job.scan),
            request=entry.request,
        )
        for job in laid
    ]


def _check_places(jobs: Sequence[Job]) -> None:
    taken: dict[str, Job] = {}
    for job in jobs:
        other = taken.setdefault(str(job.output.absolute()).lower(), job)
        if other is not job:
            raise RequestError(
                f"{other.scan} and {job.scan} would both be written to {job.output}. Give one of them another place.",
                about=("jobs", "output"),
            )


def _note(sentence: str) -> None:
    tell(f"Note: {sentence}")
