"""`umlite plan`: what a scan will cost, before anything of it is computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umlite.commands.options import (
    ClassesOption,
    DeviceOption,
    EngineOption,
    JsonOption,
    KernelsOption,
    MaxRamOption,
    MaxVramOption,
    OverlapOption,
    ScanArgument,
    ThreadsOption,
    WeightsOption,
    load,
)
from umlite.commands.reporting import BAD_INPUT, reported
from umlite.terminal import show, show_json, show_table, tell

if TYPE_CHECKING:
    from umlite.api import Request, Segmenter
    from umlite.cost.limits import Limits
    from umlite.cost.prediction import Prediction

GB = 1e9


def plan(
    scan: ScanArgument,
    classes: ClassesOption = None,
    weights: WeightsOption = None,
    device: DeviceOption = "auto",
    engine: EngineOption = "fast",
    kernels: KernelsOption = "auto",
    threads: ThreadsOption = None,
    overlap: OverlapOption = 0.5,
    batch: Annotated[int | None, typer.Option(help="Windows at a time.")] = None,
    max_ram: MaxRamOption = None,
    max_vram: MaxVramOption = None,
    recalibrate: Annotated[bool, typer.Option("--recalibrate", help="Measure this machine again.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Predict windows, seconds, memory and output of a scan. The first time on a machine, a short calibration runs."""
    with reported(as_json):
        from umlite.cost.limits import Limits

        limits = Limits.parse(max_ram, max_vram)
        segmenter = load(
            weights, device, engine, kernels, threads, batch=batch, max_vram=limits.vram, max_ram=limits.ram
        )
        options: dict[str, Any] = {"overlap": overlap, "limits": limits, "recalibrate": recalibrate}
        code = show_plans(segmenter, [scan], classes, **options, as_json=as_json)
        if code:
            raise typer.Exit(code)


def show_plans(
    segmenter: Segmenter,
    scans: Sequence[Path],
    classes: Request,
    *,
    overlap: float,
    limits: Limits,
    windows: str = "all",
    recalibrate: bool = False,
    as_json: bool = False,
) -> int:
    """Predict and show what each scan will cost. Returns the exit code: not 0 where one is beyond the limits.

    windows: as of `Segmenter.segment`; adaptive ones are at most all. Raises InputError for a scan that is none.
    """
    from umlite.cost.measuring import calibration_of
    from umlite.cost.prediction import predict
    from umlite.volume.reading import read_scan

    names = [c.name for c in segmenter.check_request(classes, overlap)]
    calibration = calibration_of(segmenter, again=recalibrate, tell=tell)
    plans: list[dict[str, Any]] = []
    for path in scans:
        scan = read_scan(path)
        cost = predict(segmenter, calibration, scan, segmenter.prepare(scan), names, overlap, windows)
        excess = limits.excess(cost)
        plans.append({"scan": str(path), "classes": names, "at_most": windows == "adaptive", **cost.to_dict()})
        if limits.any:
            plans[-1] |= {"fits": not excess, "excess": excess}
        if limits.ram is not None:
            plans[-1] |= {"max_ram_gb": limits.ram / GB, "classes_that_fit": cost.classes_within(limits.ram)}
        if not as_json:
            _show(path.name if len(scans) > 1 else "", cost, len(names), windows)
            if excess:
                show(excess)
    if as_json:
        show_json(plans[0] if len(plans) == 1 else {"scans": plans})
    return 0 if all(entry.get("fits", True) for entry in plans) else BAD_INPUT


def _show(title: str, cost: Prediction, files: int, windows: str) -> None:
    reused = cost.windows - cost.windows_run
    most = "at most " if windows == "adaptive" else ""
    rows = [
        ("windows", f"{most}{cost.windows_run}" + (f", and {reused} constant ones reused" if reused else "")),
        ("time", f"{most}{cost.seconds:.1f} s, {cost.steps['windows']:.1f} s of it windows"),
        ("memory", f"{cost.peak_bytes / GB:.2f} GB at most"),
        ("output", f"about {cost.output_bytes / 1e6:.1f} MB in {files} masks"),
    ]
    if cost.vram_bytes[0]:
        most_vram, least = (size / GB for size in cost.vram_bytes)
        rows.append(("GPU memory", f"{most_vram:.2f} GB, or {least:.2f} GB with the sums in the computer's memory"))
    show_table(("", ""), rows, title=title or None)
