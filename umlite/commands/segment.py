"""`umlite segment`: scans in, masks out."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umlite import __version__
from umlite.class_table import is_class_word
from umlite.commands.options import (
    HOW_MUCH,
    WHAT,
    JsonOption,
    LabelMapOption,
    OverwriteOption,
    PacksOption,
    QuietOption,
    WeightsOption,
    load,
    output_option,
    path_argument,
    takes_options,
)
from umlite.commands.reporting import BAD_INPUT, DEFECT, message_of, prefixed, reported
from umlite.commands.series import with_series
from umlite.engines.options import EngineOptions
from umlite.errors import RequestError, UmliteError
from umlite.products.wanted import Wanted
from umlite.request import Request
from umlite.terminal import show, show_json, show_table, tell, window_bars

if TYPE_CHECKING:
    from umlite.api import Segmenter
    from umlite.batch.outcome import Outcome
    from umlite.cost.forecast import Forecast

_MOST_DOUBTS = 4


@takes_options
def segment(
    scans: Annotated[list[Path], path_argument(metavar="SCAN", help="NIfTI files; folders, zips or files of DICOM.")],
    request: Request,
    options: EngineOptions,
    wanted: Wanted,
    output: Annotated[
        str | None,
        output_option(
            help="Folder of masks, FILE.nii.gz for a label map, FILE.dcm for DICOM-SEG.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    weights: WeightsOption = None,
    packs: PacksOption = None,
    series: Annotated[
        str | None,
        typer.Option("--series", help="DICOM series: numbers, UIDs or all.", rich_help_panel=WHAT),
    ] = None,
    fill_gaps: Annotated[
        bool, typer.Option("--fill-gaps", help="Interpolate missing DICOM slices.", rich_help_panel=WHAT)
    ] = False,
    label_map: LabelMapOption = False,
    overwrite: OverwriteOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Compute again what is done already.", rich_help_panel=WHAT)
    ] = False,
    verify_hashes: Annotated[
        bool,
        typer.Option("--verify-hashes", help="Read finished results to see if they changed.", rich_help_panel=WHAT),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only predict the cost, like `umlite plan`.", rich_help_panel=HOW_MUCH)
    ] = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Segment CT scans, with masks on each scan's own grid."""
    report = _Report(silent=quiet or as_json)
    with reported(as_json, report.scans):
        from umlite.batch.jobs import lay_out_jobs
        from umlite.batch.model import Model
        from umlite.batch.orders import Orders
        from umlite.batch.run import run_jobs
        from umlite.products.formats import format_of
        from umlite.weights.packs import pack_paths

        if output == "":
            raise RequestError("The output is empty: expected a folder or a file, '.' for this folder.", about="output")
        _check_no_class(scans, request)
        request = Request.of(request, details=wanted.needs_details, surfaces=wanted.mesh is not None)
        place = None if output is None else Path(output)
        sources = with_series(scans, series, fill_gaps=fill_gaps)
        if label_map:
            wanted = replace(wanted, format="label-map")
        chosen = format_of(place, wanted.format, wanted.layout)
        wanted = replace(wanted, format=chosen.name)
        jobs = lay_out_jobs(
            sources.scans, place, chosen, layout=wanted.layout, notify=lambda text: tell(f"Note: {text}")
        )
        jobs = [replace(job, series=sources.series.get(job.scan)) for job in jobs]
        model = Model(
            weights, options, lambda: load(weights, options, jobs[0].place.home, packs), packs=pack_paths(packs)
        )
        if dry_run:
            from umlite.commands.plan import show_plans

            scans_or_series = [job.series or job.scan for job in jobs]
            raise typer.Exit(show_plans(model.segmenter, scans_or_series, request, as_json=as_json))
        orders = Orders(request, wanted, overwrite, force, verify_hashes)
        with window_bars(report.silent) as progress_of:
            for outcome in run_jobs(model, jobs, orders, progress_of=progress_of, forecast_of=_forecast_of(options)):
                report.add(outcome)
                del outcome  # its scan and masks need not be in memory beside the next scan's
        if as_json:
            show_json({"umlite": __version__, **model.engine, **report.scans(), "exit_code": report.code})
        elif len(jobs) > 1 and not quiet:
            show(report.summary(len(jobs)))
    if report.code:
        raise typer.Exit(report.code)


def _forecast_of(options: EngineOptions) -> Callable[[Segmenter], Forecast]:
    """A function that makes what predicts each scan's cost."""

    def make(segmenter: Segmenter) -> Forecast:
        from umlite.cost.forecast import Forecast
        from umlite.cost.limits import Limits

        return Forecast(segmenter, None, Limits.of(options), tell)

    return make


def _check_no_class(scans: list[Path], request: Request) -> None:
    """Raise RequestError for `-c liver spleen`, which would leave the spleen out: there it is a scan."""
    for scan in scans if request.classes else ():
        if not os.path.lexists(scan) and is_class_word(str(scan)):
            joined = ",".join([*(request.classes or ()), str(scan)])
            raise RequestError(
                f"{scan} is a class, and there is no file of that name. Join classes with commas: {joined}.",
                about="classes",
            )


class _Report:
    """Outcomes of all scans without their masks, since those of thousands of scans would not fit in memory."""

    def __init__(self, silent: bool) -> None:
        self.silent = silent
        self.code = self.done = self.skipped = 0
        self._scans: list[dict[str, Any]] = []

    def add(self, outcome: Outcome) -> None:
        """Show an outcome, and keep its entry for JSON."""
        if outcome.skipped:
            self.skipped += 1
        elif outcome.error is None:
            self.done += 1
        elif not isinstance(outcome.error, UmliteError):
            self.code = DEFECT
        else:
            self.code = self.code or BAD_INPUT
        _show_outcome(outcome, self.silent)
        self._scans.append(_as_dict(outcome))

    def summary(self, scans: int) -> str:
        """A sentence about all scans of the run."""
        skipped = f", {self.skipped} done before" if self.skipped else ""
        return f"{self.done} of {scans} scans segmented{skipped}."

    def scans(self) -> dict[str, Any]:
        """Entries of all scans, ready for JSON; empty before the first."""
        return {"scans": self._scans} if self._scans else {}


def _show_outcome(outcome: Outcome, silent: bool) -> None:
    scan, result = outcome.job.scan, outcome.result
    if outcome.skipped:
        if not silent:
            show(f"{scan.name}: done before, nothing to do. The result is in {outcome.job.output}")
        return
    if result is None:
        tell(f"Error: {prefixed(scan, outcome.error)}")
        if not isinstance(outcome.error, UmliteError):
            for line in "".join(traceback.format_exception(outcome.error)).splitlines():
                tell(f"  {line}")
        return
    for warning in (*result.warnings, *outcome.remarks):
        tell(f"Warning: {scan.name}: {warning}")
    for text in _doubts(outcome):
        tell(f"Check: {scan.name}: {text}")
    if silent:
        return
    for note in result.notes:
        tell(f"Note: {scan.name}: {note}")
    volumes = result.volumes_ml
    rows = [(c.name, f"{volumes[c.name]:,.1f}", f"{result.voxels[c.name]:,}") for c in result.classes]
    show_table(("class", "volume (ml)", "voxels"), rows, right=(1, 2), title=scan.name)
    left = f" ({result.undecided_voxels:,} voxels undecided)" if result.undecided_voxels else ""
    show(f"{result.windows} windows{left}, {outcome.cost}. Written to {outcome.job.output}")


def _doubts(outcome: Outcome) -> list[str]:
    """Sentences of the first checks that doubt the result, without those of the scan, which are warnings already."""
    found = outcome.finished.findings if outcome.finished else None
    known = {finding.code for finding in outcome.result.scan.findings} if outcome.result else set()
    texts = [f.sentence for f in found or () if f.level == "warning" and f.code not in known]
    more = len(texts) - _MOST_DOUBTS
    return texts if more <= 1 else [*texts[:_MOST_DOUBTS], f"{more} more checks doubt the result."]


def _as_dict(outcome: Outcome) -> dict[str, Any]:
    files = [str(file) for file in outcome.files]
    manifest = {"manifest_file": outcome.manifest_file and str(outcome.manifest_file), "manifest": outcome.manifest}
    if outcome.skipped:
        return {"scan": str(outcome.job.scan), "skipped": True, "files": files, **manifest}
    if outcome.result is None:
        return {"scan": str(outcome.job.scan), "error": message_of(outcome.error)}
    cost = outcome.cost.to_dict() if outcome.cost else {}
    numbers = {"statistics": outcome.statistics.to_dict()} if outcome.statistics else {}
    warnings = {"warnings": [*outcome.result.warnings, *outcome.remarks]}
    checks = outcome.finished.checks if outcome.finished else {}
    return {**outcome.result.to_dict(), **warnings, **checks, **cost, **numbers, "files": files, **manifest}
