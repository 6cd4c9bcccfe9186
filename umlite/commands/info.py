"""`umlite info`: versions, the device, and which engine would run and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from umlite import __version__
from umlite.commands.options import JsonOption, KernelsOption, MaxRamOption, ThreadsOption, WeightsOption, load
from umlite.commands.reporting import reported
from umlite.errors import RequestError
from umlite.terminal import show_json, show_table, tell


def info(
    device: Annotated[str, typer.Option(help="As for segment.")] = "auto",
    engine: Annotated[str, typer.Option(help="As for segment.")] = "fast",
    kernels: KernelsOption = "auto",
    threads: ThreadsOption = None,
    compile: Annotated[bool, typer.Option("--compile", help="As for segment.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Load the weights and show how each convolution runs.")] = False,
    weights: WeightsOption = None,
    max_ram: MaxRamOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show versions, the device, and which engine would run and why."""
    with reported(as_json):
        import platform

        import nibabel
        import numpy
        import torch

        from umlite.engines.setup import choose_plan
        from umlite.weights.store import installed, store_folder

        layers: list[dict[str, str]] = []
        if plan:
            from umlite.cost.limits import Limits

            ram = Limits.parse(max_ram, None).ram
            segmenter = load(weights, device, engine, kernels, threads, compile=compile, max_ram=ram)
            chosen, layers = segmenter.plan, segmenter.layers()
        elif weights or max_ram:
            raise RequestError("--weights and --max-ram say which layers --plan shows: add --plan.")
        else:
            chosen = choose_plan(engine, device, compile=compile, kernels=kernels, threads=threads, notify=tell)
        facts: dict[str, Any] = {
            "umlite": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": numpy.__version__,
            "nibabel": nibabel.__version__,
            "system": platform.platform(),
            "processor": torch.backends.cpu.get_cpu_capability(),
            "threads": chosen.threads,
            "device": str(chosen.device),
            "engine": chosen.engine,
            "kernels": chosen.kernels,
            "reasons": list(chosen.reasons),
            "weights_folder": str(store_folder()),
            "weights": list(installed()),
        }
        if plan:
            facts["layers"] = layers
        if as_json:
            show_json(facts)
            return
        facts.pop("layers", None)
        shown = {k: "\n".join(v) if isinstance(v, list) else str(v) for k, v in facts.items()}
        show_table(("", ""), [(key.replace("_", " "), value or "none") for key, value in shown.items()])
        if layers:
            show_table(tuple(layers[0]), [tuple(row.values()) for row in layers], whole=(0,))
        elif plan:
            typer.echo(
                f"Layers are planned for native kernels on a CPU only; this is {chosen.kernels} on {chosen.device}."
            )
