"""`umlite verify`: compares the chosen options with the reference engine, on the user's own scan and machine."""

from __future__ import annotations

from typing import Annotated

import typer

from umlite.commands.options import JsonOption, PacksOption, ScanArgument, WeightsOption, load, takes_options
from umlite.commands.reporting import BEYOND_TOLERANCE
from umlite.engines.options import EngineOptions
from umlite.request import Request
from umlite.terminal import show, show_json, show_table, window_bars


@takes_options
def verify(
    scan: ScanArgument,
    request: Annotated[Request, "classes", "overlap", "force_geometry"],
    options: EngineOptions,
    weights: WeightsOption = None,
    packs: PacksOption = None,
    sample: Annotated[
        int | None, typer.Option(help="Number of windows to compare, evenly spread. Default: all, blended.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Largest logit difference allowed, as a share of the class's standard deviation.")
    ] = 1e-3,
    as_json: JsonOption = False,
) -> None:
    """Compare the chosen options with the reference engine on SCAN. The exit code is 1 beyond the tolerance."""
    from umlite.checks.verification import verify as compare

    chosen = load(weights, options, packs=packs)
    reference = load(chosen.weights_path, EngineOptions("cpu", "reference", threads=options.threads), packs=packs)
    with window_bars(as_json) as progress_of:
        outcome = compare(
            reference, chosen, scan, request, windows=sample, tolerance=tolerance, progress=progress_of(scan.name)
        )
    if as_json:
        setup = chosen.setup
        show_json({"scan": str(scan), "device": str(setup.device), "engine": setup.options.engine, **outcome.to_dict()})
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
