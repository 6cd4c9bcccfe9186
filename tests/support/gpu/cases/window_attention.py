"""Launches of the window attention that the budget table covers: Swin UNETR's stages, shifted or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from support.gpu.budgets import Case
from umlite.kernels.triton.window_attention import launch_window_attention

NVIDIA = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16


def attend(dtype: torch.dtype, side: int, heads: int, shift: int) -> Callable[[], None]:
    """Two windows of the scan on the meta device; 16 channels a head, attention windows of 7 at most."""

    def run() -> None:
        qkv = torch.empty(2, side, side, side, 48 * heads, dtype=dtype, device="meta")
        padding = torch.empty(48 * heads, dtype=dtype, device="meta")
        table = torch.empty(13**3, heads, device="meta")
        out = torch.empty(2, side, side, side, 16 * heads, dtype=dtype, device="meta")
        sides = (min(side, 7),) * 3
        launch_window_attention(qkv, padding, table, out, heads, 7, sides, (shift,) * 3)

    return run


def elements(options: dict[str, Any]) -> int:
    """Scores of a turn of the loop over keys."""
    return options["BLOCK_QUERY"] * options["BLOCK_KEY"]


def case(name: str, run: Callable[[], None], products: bool = True, always: bool = False) -> Case:
    tensor_cores = (*NVIDIA, "gfx942") if products else ()
    return Case(
        f"window_attention/{name}", run, elements, loop=True, loads=(128,), tensor_cores=tensor_cores, always=always
    )


CASES = (
    case("float16", attend(F16, 48, 3, 0)),
    case("float16/shifted", attend(F16, 48, 3, 3), always=True),
    case("bfloat16/shifted", attend(BF16, 24, 6, 3)),
    case("float32/shifted", attend(F32, 12, 12, 3), products=False),
    case("float16/one window", attend(F16, 6, 24, 0)),
)
