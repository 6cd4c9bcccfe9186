"""`umlite plan`: predicts the cost of a scan before it is computed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umlite.commands.options import JsonOption, PacksOption, ScanArgument, WeightsOption, load, takes_options
from umlite.commands.reporting import BAD_INPUT
from umlite.engines.options import EngineOptions
from umlite.machine.sizes import GB, format_size
from umlite.request import Request
from umlite.terminal import show, show_json, show_table, tell

if TYPE_CHECKING:
    from umlite.api import Segmenter
    from umlite.cost.prediction import Prediction
    from umlite.dicom.series import Series


@takes_options
def plan(
    scan: ScanArgument,
    request: Request,
    options: EngineOptions,
    weights: WeightsOption = None,
    packs: PacksOption = None,
    recalibrate: Annotated[bool, typer.Option("--recalibrate", help="Measure this machine again.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Predict windows, seconds, memory and output of SCAN. On first use, a short calibration runs."""
    code = show_plan(load(weights, options, packs=packs), scan, request, recalibrate=recalibrate, as_json=as_json)
    if code:
        raise typer.Exit(code)


def show_plan(
    segmenter: Segmenter,
    scan: Path | Series,
    request: Request,
    *,
    recalibrate: bool = False,
    as_json: bool = False,
) -> int:
    """Predict and show the cost of a scan, and compare it with the limits of the segmenter's options.

    Returns:
        The exit code, which is not 0 if the scan exceeds the limits.

    Raises:
        UmliteError: the scan cannot be read.
    """
    from umlite.cost.limits import Limits
    from umlite.cost.measuring import calibration_of
    from umlite.cost.prediction import predict

    limits = Limits.of(segmenter.setup.options)
    names = [c.name for c in segmenter.check_request(request)]
    calibration = calibration_of(segmenter, again=recalibrate, tell=tell)
    adaptive = request.windows == "adaptive"
    cost = predict(segmenter, calibration, segmenter.prepare(scan, force_geometry=request.force_geometry), request)
    excess = limits.excess(cost)
    if as_json:
        plan: dict[str, Any] = {"scan": str(scan), "classes": names, "at_most": adaptive, **cost.to_dict()}
        if limits.any:
            plan |= {"fits": not excess, "excess": excess}
        if limits.ram is not None:
            plan |= {"max_ram_gb": limits.ram / GB, "classes_that_fit": cost.classes_within(limits.ram)}
        show_json(plan)
    else:
        _show(cost, len(names), adaptive)
        if excess:
            show(excess)
    return BAD_INPUT if excess else 0


def _show(cost: Prediction, files: int, adaptive: bool) -> None:
    reused = cost.windows - cost.windows_run
    most = "at most " if adaptive else ""
    rows = [
        ("windows", f"{most}{cost.windows_run}" + (f", and {reused} constant ones reused" if reused else "")),
        ("time", f"{most}{cost.seconds:.1f} s (windows: {cost.steps['windows']:.1f} s)"),
        ("memory", f"{format_size(cost.peak_bytes)} at most"),
        ("output", f"about {cost.output_bytes / 1e6:.1f} MB in {files} masks"),
    ]
    if cost.vram_bytes[0]:
        here, least = map(format_size, cost.vram_bytes)
        rows.append(("GPU memory", f"{here}, or {least} with the sums in the computer's memory"))
    show_table(("", ""), rows)
