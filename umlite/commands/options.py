"""Options that several commands have, and what they mean there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umlite.terminal import tell

if TYPE_CHECKING:
    from umlite.api import Segmenter

ScanArgument = Annotated[Path, typer.Argument(metavar="SCAN", help="A NIfTI file (.nii, .nii.gz).")]
ClassesOption = Annotated[
    str | None, typer.Option("--classes", "-c", help="Names or groups, comma separated; all by default.")
]
WeightsOption = Annotated[str | None, typer.Option("--weights", help="Installed name or .safetensors file.")]
DeviceOption = Annotated[str, typer.Option("--device", help="As for segment.")]
EngineOption = Annotated[str, typer.Option("--engine", help="As for segment.")]
KernelsOption = Annotated[str, typer.Option("--kernels", help="native, torch, or auto: native where there are some.")]
PrecisionOption = Annotated[str, typer.Option("--precision", help="Of a GPU: float16, bfloat16, float32 or auto.")]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="Of the CPU; OMP_NUM_THREADS or all cores by default.")
]
OverlapOption = Annotated[float, typer.Option("--overlap", help="Of neighbouring windows, 0 to under 1.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout and nothing else there.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace existing results.")]
MaxRamOption = Annotated[
    str | None,
    typer.Option("--max-ram", metavar="SIZE", help="Memory to stay under: 3GB, 800MB; gigabytes by default."),
]
MaxVramOption = Annotated[str | None, typer.Option("--max-vram", metavar="SIZE", help="GPU memory to stay under.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only predict what it would cost, as plan does.")]


def load(
    weights: str | os.PathLike[str] | None,
    device: str,
    engine: str,
    kernels: str,
    threads: int | None,
    *,
    compile: bool = False,
    batch: int | None = None,
    max_vram: int | None = None,
    max_ram: int | None = None,
    precision: str = "auto",
) -> Segmenter:
    """The segmenter that the options ask for; torch's own operations get its threads too. Raises as Segmenter does."""
    import torch

    from umlite.api import Segmenter

    options: dict[str, Any] = {"compile": compile, "batch": batch, "threads": threads, "notify": tell}
    options |= {"precision": precision, "max_vram": max_vram, "max_ram": max_ram}
    segmenter = Segmenter(weights, device, engine, kernels=kernels, **options)
    if threads is not None:
        torch.set_num_threads(threads)
    return segmenter
