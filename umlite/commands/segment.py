"""`umlite segment`: scans in, masks out."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umlite import __version__
from umlite.commands.options import (
    DryRunOption,
    JsonOption,
    KernelsOption,
    MaxRamOption,
    MaxVramOption,
    OverlapOption,
    OverwriteOption,
    PrecisionOption,
    ThreadsOption,
    WeightsOption,
    load,
)
from umlite.commands.reporting import BAD_INPUT, DEFECT, reported
from umlite.errors import RequestError, UmliteError
from umlite.terminal import show, show_json, show_table, tell, window_bars

if TYPE_CHECKING:
    from umlite.batch import Outcome


def segment(
    scans: Annotated[list[Path], typer.Argument(metavar="SCAN", help="NIfTI files (.nii, .nii.gz).")],
    classes: Annotated[
        str | None, typer.Option("--classes", "-c", help="Names or groups, comma separated; all by default.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="Folder for one mask per class, or FILE.nii.gz for one label map."),
    ] = None,
    weights: WeightsOption = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    engine: Annotated[str, typer.Option(help="fast or reference.")] = "fast",
    kernels: KernelsOption = "auto",
    threads: ThreadsOption = None,
    overlap: OverlapOption = 0.5,
    windows: Annotated[
        str, typer.Option(help="all, or adaptive: only those that the classes could need (for a few of them).")
    ] = "all",
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="CLASS_probability.nii.gz too, before post-processing.")
    ] = False,
    max_ram: MaxRamOption = None,
    max_vram: MaxVramOption = None,
    dry_run: DryRunOption = False,
    precision: PrecisionOption = "auto",
    compile: Annotated[bool, typer.Option("--compile", help="torch.compile the network: for many scans.")] = False,
    batch: Annotated[int | None, typer.Option(help="Windows at a time.")] = None,
    label_map: Annotated[bool, typer.Option("--label-map", help="One label map per scan in the folder.")] = False,
    overwrite: OverwriteOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Segment CT scans: masks on each scan's own grid."""
    report = _Report(silent=quiet or as_json)
    with reported(as_json, report.scans):
        from umlite.batch import plan_jobs, run_jobs
        from umlite.cost.limits import Limits

        if output == "":
            raise RequestError("The output (-o) is empty: expected a folder or a file, '.' for this folder.")
        jobs = plan_jobs(scans, None if output is None else Path(output), label_map=label_map)
        limits = Limits.parse(max_ram, max_vram)
        options = {
            "compile": compile,
            "batch": batch,
            "max_vram": limits.vram,
            "max_ram": limits.ram,
            "precision": precision,
        }
        segmenter = load(weights, device, engine, kernels, threads, **options)  # type: ignore[arg-type]
        if dry_run:
            from umlite.commands.plan import show_plans

            paths, predicted = [job.scan for job in jobs], {"overlap": overlap, "limits": limits, "windows": windows}
            code = show_plans(segmenter, paths, classes, **predicted, as_json=as_json)  # type: ignore[arg-type]
            raise typer.Exit(code)
        from umlite.cost.forecast import Forecast

        with window_bars(report.silent) as progress_of:
            for outcome in run_jobs(
                segmenter,
                jobs,
                classes,
                overlap=overlap,
                windows=windows,
                probabilities=probabilities,
                overwrite=overwrite,
                progress_of=progress_of,
                forecast=Forecast(segmenter, overlap, limits, tell, windows),
            ):
                report.add(outcome)
                del outcome  # its scan and masks need not be in memory beside the next scan's
        if as_json:
            chosen = {"engine": segmenter.plan.engine, "device": str(segmenter.plan.device)}
            show_json({"umlite": __version__, **chosen, **report.scans(), "exit_code": report.code})
        elif len(jobs) > 1 and not quiet:
            show(f"{report.done} of {len(jobs)} scans segmented.")
    if report.code:
        raise typer.Exit(report.code)


class _Report:
    """What became of the scans, without their masks: those of thousands of scans would not fit in memory."""

    def __init__(self, silent: bool) -> None:
        self.silent = silent
        self.code = self.done = 0
        self._scans: list[dict[str, Any]] = []

    def add(self, outcome: Outcome) -> None:
        """Show an outcome and keep what JSON holds of it."""
        if outcome.error is None:
            self.done += 1
        elif not isinstance(outcome.error, UmliteError):
            self.code = DEFECT
        else:
            self.code = self.code or BAD_INPUT
        _show_outcome(outcome, self.silent)
        self._scans.append(_as_dict(outcome))

    def scans(self) -> dict[str, Any]:
        """Ready for JSON; empty where no scan is done yet."""
        return {"scans": self._scans} if self._scans else {}


def _show_outcome(outcome: Outcome, silent: bool) -> None:
    scan, result = outcome.job.scan, outcome.result
    if result is None:
        text = str(outcome.error) or repr(outcome.error)
        tell(f"Error: {text if text.startswith(str(scan)) else f'{scan}: {text}'}")
        if not isinstance(outcome.error, UmliteError):
            traceback.print_exception(outcome.error, file=sys.stderr)
        return
    for warning in result.warnings:
        tell(f"Warning: {scan.name}: {warning}")
    if silent:
        return
    for note in result.notes:
        tell(f"Note: {scan.name}: {note}")
    volumes = result.volumes_ml
    rows = [(c.name, f"{volumes[c.name]:,.1f}", f"{result.voxels[c.name]:,}") for c in result.classes]
    show_table(("class", "volume (ml)", "voxels"), rows, right=(1, 2), title=scan.name)
    left = f" ({result.undecided_voxels:,} voxels undecided)" if result.undecided_voxels else ""
    show(f"{result.windows} windows{left}, {outcome.cost}. Written to {outcome.job.output}")


def _as_dict(outcome: Outcome) -> dict[str, Any]:
    if outcome.result is None:
        return {"scan": str(outcome.job.scan), "error": str(outcome.error) or repr(outcome.error)}
    cost = outcome.cost.to_dict() if outcome.cost else {}
    return {**outcome.result.to_dict(), **cost, "files": [str(file) for file in outcome.files]}
