"""`umlite reproduce`: a run again, from its manifest."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from umlite.commands.options import (
    EXPERT,
    WHAT,
    JsonOption,
    PacksOption,
    WeightsOption,
    folder_option,
    load,
    path_argument,
    path_option,
)
from umlite.commands.reporting import BEYOND_TOLERANCE, reported
from umlite.terminal import show, show_json, show_table, window_bars


def reproduce(
    manifest: Annotated[Path, path_argument(metavar="MANIFEST", help="manifest.json of a result, or its folder.")],
    scan: Annotated[Path | None, path_option("--scan", help="The scan, if it was moved.", rich_help_panel=WHAT)] = None,
    output: Annotated[
        Path | None, folder_option(help="Folder that keeps the new result. Default: it is only compared.")
    ] = None,
    weights: WeightsOption = None,
    packs: PacksOption = None,
    device: Annotated[
        str | None, typer.Option("--device", help="Another device than then.", rich_help_panel=EXPERT)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run again what MANIFEST tells, and compare the files. The exit code is 1 if one differs."""
    with reported(as_json):
        from umlite.batch.reproduction import find_packs, find_scan, find_weights
        from umlite.batch.reproduction import reproduce as run_again
        from umlite.outputs.temporary import temporary_folder
        from umlite.products.manifest import NAME
        from umlite.products.recorded import read_manifest
        from umlite.weights.packs import pack_paths

        if manifest.is_dir():
            manifest /= NAME
        told = read_manifest(manifest)
        found = find_scan(told, scan)
        options = told.options if device is None else replace(told.options, device=device)
        added = find_packs(told, pack_paths(packs), (manifest.parent, Path.cwd()))
        segmenter = load(weights or find_weights(told), options, output, added)
        with contextlib.ExitStack() as stack:
            folder = output or stack.enter_context(temporary_folder("umlite-reproduce-"))
            progress_of = stack.enter_context(window_bars(as_json))
            outcome = run_again(told, segmenter, found, folder, progress=progress_of(found[0].name))
        if as_json:
            show_json({"manifest": str(manifest), **outcome.to_dict()})
        else:
            rows = [(name, "same") for name in outcome.same] + [(name, "DIFFERENT") for name in outcome.different]
            show_table(("file", "content"), rows + [(name, "not compared") for name in outcome.not_compared])
            if outcome.changed:
                show_table(("what", "then", "now"), outcome.changed)
            show("Reproduced." if outcome.passed else "NOT reproduced: at least one file differs.")
    if not outcome.passed:
        raise typer.Exit(BEYOND_TOLERANCE)
