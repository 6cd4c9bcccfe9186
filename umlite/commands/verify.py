"""`umlite verify`: compares the chosen options with the reference engine, on the user's own scan and machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from umlite.commands.options import JsonOption, PacksOption, WeightsOption, load, path_argument, takes_options
from umlite.commands.reporting import BEYOND_TOLERANCE
from umlite.engines.options import EngineOptions
from umlite.errors import RequestError
from umlite.request import Request
from umlite.terminal import show, show_json, show_table, window_bars


@takes_options
def verify(
    scan: Annotated[Path | None, path_argument(metavar="SCAN", help="A NIfTI file, or DICOM of one CT series.")] = None,
    *,
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
    unchanged: Annotated[
        bool, typer.Option("--unchanged", help="Check instead that packs change no logit of other classes.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare the chosen options with the reference engine on SCAN. The exit code is 1 beyond the tolerance.

    With --unchanged, compare the network with and without packs to the bit, on a phantom if there is no SCAN.
    """
    from umlite.checks.verification import verify as compare

    if unchanged:
        _verify_unchanged(scan, request, options, weights, packs, sample, as_json=as_json)
        return
    if scan is None:
        raise RequestError("Expected a scan to compare on, found none.", about="scan")
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


def _verify_unchanged(
    scan: Path | None,
    request: Request,
    options: EngineOptions,
    weights: str | None,
    packs: str | None,
    sample: int | None,
    *,
    as_json: bool,
) -> None:
    from umlite.checks.no_forgetting import check_unchanged
    from umlite.weights.packs import pack_paths

    files = pack_paths(packs)
    name = "phantom" if scan is None else scan.name
    with window_bars(as_json) as progress_of:
        found = check_unchanged(
            lambda some: load(weights, options, packs=some),
            files,
            scan,
            request,
            windows=sample,
            progress=progress_of(name),
        )
    if as_json:
        facts = {"scan": None if scan is None else str(scan), "packs": [str(pack) for pack in files]}
        show_json({**facts, **found.to_dict()})
    else:
        show(f"{found}.")
    if not found.passed:
        raise typer.Exit(BEYOND_TOLERANCE)
