"""`umlite plan`: predicts the cost of a scan before it is computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umlite.commands.options import JsonOption, PacksOption, ScanArgument, WeightsOption, load, takes_options
from umlite.commands.reporting import BAD_INPUT, message_of, prefixed
from umlite.engines.options import EngineOptions
from umlite.errors import UmliteError
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
    code = show_plans(load(weights, options, packs=packs), [scan], request, recalibrate=recalibrate, as_json=as_json)
    if code:
        raise typer.Exit(code)


def show_plans(
    segmenter: Segmenter,
    scans: Sequence[Path | Series],
    request: Request,
    *,
    recalibrate: bool = False,
    as_json: bool = False,
) -> int:
    """Predict and show the cost of each scan, and compare it with the limits of the segmenter's options.

    Returns:
        The exit code, which is not 0 if a scan exceeds the limits or cannot be read.

    Raises:
        UmliteError: the only scan cannot be read. One of several is reported, and the others go on.
    """
    from umlite.cost.limits import Limits
    from umlite.cost.measuring import calibration_of
    from umlite.cost.prediction import predict

    limits = Limits.of(segmenter.setup.options)
    names = [c.name for c in segmenter.check_request(request)]
    calibration = calibration_of(segmenter, again=recalibrate, tell=tell)
    adaptive = request.windows == "adaptive"
    plans: list[dict[str, Any]] = []
    for path in scans:
        try:
            prepared = segmenter.prepare(path, force_geometry=request.force_geometry)
            cost = predict(segmenter, calibration, prepared, request)
        except UmliteError as error:
            if len(scans) == 1:
                raise
            plans.append({"scan": str(path), "error": message_of(error), "fits": False})
            tell(f"Error: {prefixed(path, error)}")
            continue
        excess = limits.excess(cost)
        plans.append({"scan": str(path), "classes": names, "at_most": adaptive, **cost.to_dict()})
        if limits.any:
            plans[-1] |= {"fits": not excess, "excess": excess}
        if limits.ram is not None:
            plans[-1] |= {"max_ram_gb": limits.ram / GB, "classes_that_fit": cost.classes_within(limits.ram)}
        if not as_json:
            _show(path.name if len(scans) > 1 else "", cost, len(names), adaptive)
            if excess:
                show(excess)
    if as_json:
        show_json(plans[0] if len(plans) == 1 else {"scans": plans})
    return 0 if all(entry.get("fits", True) for entry in plans) else BAD_INPUT


def _show(title: str, cost: Prediction, files: int, adaptive: bool) -> None:
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
    show_table(("", ""), rows, title=title or None)
