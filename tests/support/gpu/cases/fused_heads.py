"""Launches of the fused heads that the budget table covers: the published window into the sums of a scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from support.gpu.budgets import Case
from umlite.kernels.triton.fused_heads import Stem, launch_fused_heads

SIDE = 96
NVIDIA = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16


def meta(*shape: int, dtype: torch.dtype = F32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def launch(dtype: torch.dtype, features: int) -> Callable[[], None]:
    """Two windows and 32 classes, in the memory format that the engine gives the backbone of such a dtype."""

    def run() -> None:
        feature = meta(2, features, SIDE, SIDE, SIDE, dtype=dtype)
        if dtype != F32:
            feature = feature.to(memory_format=torch.channels_last_3d)
        stem = Stem(meta(2, features), meta(2, features), meta(8, features), meta(8))
        place = meta(SIDE, SIDE, SIDE), meta(32, 344, 400, 320), meta(2, 3, dtype=torch.int64)
        launch_fused_heads(feature, stem, meta(2, 32, 153), *place)

    return run


def elements(options: dict[str, Any]) -> int:
    """Voxels times classes of a block in one turn of the loop over classes."""
    return options["BLOCK"] * options.get("STEP", 1)


def case(name: str, run: Callable[[], None], products: bool = False, always: bool = False) -> Case:
    return Case(
        f"fused_heads/{name}",
        run,
        elements,
        loop=True,
        loads=() if products else (128,),  # products take their weights through asynchronous copies
        tensor_cores=NVIDIA if products else (),
        always=always,
    )


CASES = (
    case("float32", launch(F32, 64), always=True),
    case("float16", launch(F16, 48), products=True, always=True),
    case("bfloat16", launch(BF16, 64), products=True),
)
