"""`umlite verify`: the chosen options against the reference engine, on the user's own scan and machine."""

from __future__ import annotations

from typing import Annotated

import typer

from umlite.commands.options import (
    ClassesOption,
    DeviceOption,
    EngineOption,
    JsonOption,
    KernelsOption,
    OverlapOption,
    ScanArgument,
    ThreadsOption,
    WeightsOption,
    load,
)
from umlite.commands.reporting import BEYOND_TOLERANCE, reported
from umlite.terminal import show, show_json, show_table, window_bars


def verify(
    scan: ScanArgument,
    classes: ClassesOption = None,
    weights: WeightsOption = None,
    device: DeviceOption = "auto",
    engine: EngineOption = "fast",
    kernels: KernelsOption = "auto",
    threads: ThreadsOption = None,
    overlap: OverlapOption = 0.5,
    windows: Annotated[int | None, typer.Option(help="Compare so many windows, evenly spread; all by default.")] = None,
    tolerance: Annotated[
        float, typer.Option(help="Largest logit difference allowed, by the class's standard deviation.")
    ] = 1e-3,
    as_json: JsonOption = False,
) -> None:
    """Compare the reference engine with the chosen options on SCAN. Exit code 1 beyond the tolerance."""
    with reported(as_json):
        from umlite.checks.verification import verify as compare

        chosen = load(weights, device, engine, kernels, threads)
        reference = load(chosen.weights_path, "cpu", "reference", "auto", threads)
        with window_bars(as_json) as progress_of:
            outcome = compare(
                reference,
                chosen,
                scan,
                classes,
                overlap=overlap,
                windows=windows,
                tolerance=tolerance,
                progress=progress_of(scan.name),
            )
        if as_json:
            show_json({"scan": str(scan), "device": str(chosen.plan.device), "engine": engine, **outcome.to_dict()})
        else:
            rows = [
                (c.name, f"{c.dice:.6f}", str(c.flipped), f"{c.largest_margin:.2g}", f"{c.relative_difference:.1e}")
                for c in outcome.classes
            ]
            columns = ("class", "Dice", "flipped voxels", "their largest logit", "difference / deviation")
            show_table(columns, rows, right=(1, 2, 3, 4))
            verdict = "within" if outcome.passed else "BEYOND"
            show(
                f"{outcome.compared} of {outcome.windows} windows: reference {outcome.reference_seconds:.1f} s, chosen "
                f"{outcome.seconds:.1f} s; {verdict} the tolerance of {tolerance:g}."
            )
        if not outcome.passed:
            raise typer.Exit(BEYOND_TOLERANCE)
