"""`umlite info`: shows versions, the device, and which engine would run and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from umlite import __version__
from umlite.commands.options import JsonOption, PacksOption, WeightsOption, load, takes_options
from umlite.engines.options import EngineOptions
from umlite.errors import RequestError
from umlite.terminal import show, show_json, show_table, tell

SCHEMA = Path(__file__).with_name("output_schema.json")


@takes_options
def info(
    options: EngineOptions,
    layers: Annotated[bool, typer.Option("--layers", help="Load --weights and show how each layer runs.")] = False,
    weights: WeightsOption = None,
    packs: PacksOption = None,
    schema: Annotated[bool, typer.Option("--schema", help="Show the JSON Schema of all --json output.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show versions, the device, and which engine would run and why."""
    if schema:
        typer.echo(SCHEMA.read_text(encoding="utf-8"))
        return
    import platform

    import nibabel
    import numpy
    import torch

    from umlite.engines.setup import choose_setup
    from umlite.weights.store import installed, shown_store

    rows: list[dict[str, str]] = []
    if layers:
        segmenter = load(weights, options, packs=packs)
        setup, rows = segmenter.setup, segmenter.engine.layers()
    elif weights:
        raise RequestError("--weights names the weights whose layers to show: add --layers.")
    else:
        setup = choose_setup(options, tell)
    facts: dict[str, Any] = {
        "umlite": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "nibabel": nibabel.__version__,
        "system": platform.platform(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "threads": setup.threads,
        "device": str(setup.device),
        "engine": setup.options.engine,
        "kernels": setup.options.kernels,
        "reasons": list(setup.reasons),
        "weights_folder": shown_store(),
        "weights": list(installed()),
    }
    if as_json:
        show_json(facts | {"layers": rows} if layers else facts)
        return
    shown = {k: v or ["none"] if isinstance(v, list) else [str(v)] for k, v in facts.items()}
    show_table(
        ("", ""),
        [("" if at else key.replace("_", " "), line) for key, lines in shown.items() for at, line in enumerate(lines)],
    )
    if rows:
        show_table(tuple(rows[0]), [tuple(row.values()) for row in rows], whole=(0,))
    elif layers:
        show(f"Only native kernels on a CPU choose layer by layer; here {setup.options.kernels} run on {setup.device}.")
