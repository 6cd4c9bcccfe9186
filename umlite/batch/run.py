"""Runs one scan after the other. A bad scan does not stop the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umlite.batch.jobs import Job
from umlite.batch.saving import Saver
from umlite.cost.actual import Cost
from umlite.errors import UmliteError
from umlite.machine.memory import as_refusal, peak_bytes, start_peak
from umlite.outputs.temporary import existing
from umlite.products.choice import products_of
from umlite.products.content import content_of
from umlite.products.formats import format_of
from umlite.products.manifest import input_facts, run_facts
from umlite.products.product import Finished
from umlite.products.wanted import Wanted
from umlite.progress import Progress, no_progress

if TYPE_CHECKING:
    from umlite.api import Segmentation, Segmenter
    from umlite.cost.forecast import Forecast
    from umlite.request import Request
    from umlite.results.statistics import Statistics


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job: a result with its files, its cost and its manifest, or an error."""

    job: Job
    finished: Finished | None = None
    files: tuple[Path, ...] = ()
    error: Exception | None = None
    cost: Cost | None = None
    manifest: dict[str, Any] | None = None
    manifest_file: Path | None = None

    @property
    def result(self) -> Segmentation | None:
        """The masks; None after an error."""
        return None if self.finished is None else self.finished.result

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences about the files that a user should know."""
        return () if self.finished is None else tuple(self.finished.remarks)

    @property
    def statistics(self) -> Statistics | None:
        """The numbers; None where none were wanted."""
        return self.finished.statistics if self.finished is not None and self.finished.wanted.statistics else None


def run_jobs(
    segmenter: Segmenter,
    jobs: Sequence[Job],
    request: Request,
    *,
    wanted: Wanted = Wanted(),
    overwrite: bool = False,
    progress_of: Callable[[str], Progress] = lambda _name: no_progress,
    forecast: Forecast | None = None,
) -> Iterator[Outcome]:
    """Segment one scan after the other, and save each before the next is read. Errors of a scan become outcomes.

    No outcome is kept here: a caller that drops one before it asks for the next needs memory for only one scan.

    Args:
        segmenter: runs on every scan.
        jobs: scans and places of their results.
        request: what is asked of every scan.
        wanted: what is written of every result; the jobs' places were laid out for its format, masks by default.
        overwrite: whether existing results may be replaced.
        progress_of: makes a scan's `Progress` from its name.
        forecast: predicts the cost of each scan and refuses scans that are too large.

    Yields:
        One outcome per job, in order.

    Raises:
        RequestError: the request cannot be served for any scan; raised before the first.
        OutputError: what is about all scans cannot be written; raised after the last.
    """
    chosen = format_of(None, wanted.format)
    wanted = replace(wanted, format=chosen.name)
    products = products_of(wanted, chosen, probabilities=request.probabilities, scans=len(jobs))
    scans = {os.path.realpath(job.scan) for job in jobs}
    saver = Saver(products, wanted, segmenter.check_request(request), scans, overwrite=overwrite)
    facts = run_facts(segmenter.card, segmenter.weights_path, segmenter.setup, request, wanted)

    def run(job: Job) -> Outcome:
        saver.check(job)
        start_peak()
        prepared = segmenter.prepare(job.series or job.scan, force_geometry=request.force_geometry)
        content = content_of(job.scan if job.series is None else job.series.path, job.series)
        predicted = None if forecast is None else forecast.of(prepared)
        folder = existing(job.place.folder_beside("probabilities")) if request.probabilities else None
        decided = segmenter.decide(prepared, request, progress=progress_of(job.scan.name), folder=folder)
        del prepared  # the volume need not be in memory while masks are cleaned and written
        result = segmenter.finish(decided)
        del decided
        run_input = {**facts, "input": input_facts(job.scan, content, job.series)}
        finished = Finished(result, job.series, run_input, wanted=wanted)
        written = saver.save(finished, job)
        cost = Cost(result.timings | written.seconds, peak_bytes(), predicted)
        return Outcome(
            job, finished, written.files, cost=cost, manifest=written.manifest, manifest_file=written.manifest_file
        )

    for job in jobs:
        try:
            yield run(job)
        except UmliteError as error:
            yield Outcome(job, error=error)
        except Exception as error:  # a defect of umlite must not cost the other scans: the caller reports it in full
            yield Outcome(job, error=as_refusal(error) or error)
    for product in products:
        product.finish_run()
