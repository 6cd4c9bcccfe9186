"""`umlite bench`: the time of each step of a scan on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from umlite.commands.options import JsonOption, ScanArgument, WeightsOption, load, takes_options
from umlite.engines.options import EngineOptions
from umlite.errors import RequestError
from umlite.request import Request
from umlite.terminal import show, show_json, show_table


@takes_options
def bench(
    scan: ScanArgument,
    request: Annotated[Request, "classes", "overlap", "windows", "force_geometry"],
    options: EngineOptions,
    weights: WeightsOption = None,
    repeats: Annotated[int, typer.Option(help="Number of runs (p50 and p90 are reported).")] = 3,
    against: Annotated[
        str | None, typer.Option(help="Other side to time in turns: monai, the reference pipeline (needs MONAI).")
    ] = None,
    reference_windows: Annotated[
        int, typer.Option(help="Number of windows that the reference runs; the rest is extrapolated (0: all).")
    ] = 5,
    as_json: JsonOption = False,
) -> None:
    """Time every step of segmenting SCAN, from file to files. Results go to a temporary folder."""
    if against not in (None, "monai"):
        raise RequestError(f"Expected --against monai, found {against!r}.")
    if repeats < 1 or reference_windows < 0:
        raise RequestError("Expected --repeats of at least 1 and --reference-windows of at least 0.")
    from umlite.checks.benchmark import benchmark_scan
    from umlite.checks.reference_pipeline import ReferencePipeline
    from umlite.machine.description import describe_machine
    from umlite.weights.store import resolve

    path = resolve(weights)
    reference_device = "cpu" if options.device == "auto" else options.device
    measured = benchmark_scan(
        lambda: load(path, options),
        scan,
        request,
        repeats=repeats,
        reference=ReferencePipeline(path, reference_device) if against else None,
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
        said = f"; extrapolated: {side.windows_run} of {side.windows} windows ran" if side.extrapolated else ""
        show(f"{side.windows} windows, {side.peak_bytes / 1e9:.2f} GB at most{said}.")
    show(f"{machine['processor']}, {machine['threads']} threads; weights loaded in {measured.load_s:.2f} s.")
    if measured.ratio is not None:
        show(f"umlite is {measured.ratio:.1f} times as fast as the reference pipeline.")
