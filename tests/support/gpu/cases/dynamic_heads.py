"""Launches of the heads that the budget table covers: the published window, all classes, both memory formats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from support.gpu.budgets import Case
from umlite.kernels.triton.dynamic_heads import Stem, accumulate_heads, launch_heads

SIDE = 96
NVIDIA = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def launch(dtype: torch.dtype, features: int = 0, classes: int = 32, last: bool = False) -> Callable[[], None]:
    """Logits of two windows, from head input or from a feature of so many channels."""

    def run() -> None:
        source, stem, params = arguments(dtype, features, classes, last)
        launch_heads(source, stem, params, meta(2, classes, SIDE, SIDE, SIDE, dtype=dtype))

    return run


def accumulate(dtype: torch.dtype, features: int = 0, classes: int = 32, last: bool = False) -> Callable[[], None]:
    """The same into the sums of a scan."""

    def run() -> None:
        source, stem, params = arguments(dtype, features, classes, last)
        starts = meta(2, 3, dtype=torch.int64)
        accumulate_heads(source, stem, params, meta(SIDE, SIDE, SIDE), meta(classes, 344, 400, 320), starts)

    return run


def arguments(
    dtype: torch.dtype, features: int, classes: int, last: bool
) -> tuple[torch.Tensor, Stem | None, torch.Tensor]:
    source = meta(2, features or 8, SIDE, SIDE, SIDE, dtype=dtype)
    if last:
        source = source.to(memory_format=torch.channels_last_3d)
    stem = Stem(meta(2, features), meta(2, features), meta(8, features), meta(8)) if features else None
    return source, stem, meta(2, classes, 153)


def elements(options: dict[str, Any]) -> int:
    """Voxels times classes of a block in one turn of the loop over classes."""
    return options["BLOCK"] * options.get("STEP", 1)


def case(name: str, run: Callable[[], None], products: bool = False, always: bool = False) -> Case:
    return Case(
        f"dynamic_heads/{name}",
        run,
        elements,
        loop=True,
        loads=() if products else (128,),  # products take their weights through asynchronous copies
        tensor_cores=NVIDIA if products and "16" in name else (),
        always=always,
    )


F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16
CASES = (
    case("float32", launch(F32), always=True),
    case("float16", launch(F16), products=True, always=True),
    case("bfloat16", launch(BF16), products=True),
    case("float16/one class", launch(F16, classes=1)),
    case("float32/sums", accumulate(F32)),
    case("float16/sums", accumulate(F16), products=True),
    case("float32/feature", launch(F32, features=64)),
    case("float16/feature", launch(F16, features=64, last=True), products=True),
    case("float16/feature/sums", accumulate(F16, features=48, last=True), products=True, always=True),
    case("bfloat16/feature/sums", accumulate(BF16, features=64, last=True), products=True),
)
