"""`umlite bench`: what each step of a scan takes on this machine."""

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
from umlite.commands.reporting import reported
from umlite.errors import RequestError
from umlite.terminal import show, show_json, show_table


def bench(
    scan: ScanArgument,
    classes: ClassesOption = None,
    weights: WeightsOption = None,
    device: DeviceOption = "auto",
    engine: EngineOption = "fast",
    kernels: KernelsOption = "auto",
    threads: ThreadsOption = None,
    overlap: OverlapOption = 0.5,
    repeats: Annotated[int, typer.Option(help="Runs to take p50 and p90 of.")] = 3,
    against: Annotated[str | None, typer.Option(help="monai: the reference pipeline, in turns (needs MONAI).")] = None,
    reference_windows: Annotated[
        int, typer.Option(help="Of its windows, so many run and the rest is extrapolated; 0 for all.")
    ] = 5,
    as_json: JsonOption = False,
) -> None:
    """Time every step of segmenting SCAN, file to files; results go to a temporary folder."""
    with reported(as_json):
        if against not in (None, "monai"):
            raise RequestError(f"Expected --against monai, found {against!r}.")
        if repeats < 1 or reference_windows < 0:
            raise RequestError("Expected --repeats of at least 1 and --reference-windows of at least 0.")
        from umlite.checks.benchmark import benchmark_scan
        from umlite.checks.reference_pipeline import ReferencePipeline
        from umlite.machine.description import describe_machine
        from umlite.weights.store import resolve

        path = resolve(weights)
        measured = benchmark_scan(
            lambda: load(path, device, engine, kernels, threads),
            scan,
            classes,
            overlap=overlap,
            repeats=repeats,
            reference=ReferencePipeline(path, "cpu" if device == "auto" else device) if against else None,
            reference_windows=reference_windows or None,
        )
        machine = describe_machine()
        if as_json:
            show_json({"scan": str(scan), "machine": machine, **measured.to_dict()})
            return
        sides = [("umlite", measured.ours)]
        if measured.reference is not None:
            sides.append(("reference pipeline", measured.reference))
        for name, side in sides:
            facts = side.to_dict()
            times = {**facts["steps_s"], "total": facts["total_s"]}
            rows = [(step, f"{t['p50']:.2f}", f"{t['p90']:.2f}") for step, t in times.items()]
            show_table(("step", "p50 (s)", "p90 (s)"), rows, right=(1, 2), title=name)
            said = f"; extrapolated, {side.windows_run} of {side.windows} windows ran" if side.extrapolated else ""
            show(f"{side.windows} windows, {side.peak_bytes / 1e9:.2f} GB at most{said}.")
        show(f"{machine['processor']}, {machine['threads']} threads; weights loaded in {measured.load_s:.2f} s.")
        if measured.ratio is not None:
            show(f"{measured.ratio:.1f} times the reference pipeline.")
