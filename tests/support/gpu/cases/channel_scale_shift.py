"""Launches of the statistics that the budget table covers: both memory formats, instance norm and group norm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from support.gpu.budgets import Case
from umlite.kernels.triton.channel_scale_shift import launch_scale_shift

F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16


def run(dtype: torch.dtype, channels: int, last: bool, affine: bool) -> Callable[[], None]:
    def launch() -> None:
        x = torch.empty(2, channels, 96, 96, 96, dtype=dtype, device="meta")
        if last:
            x = x.to(memory_format=torch.channels_last_3d)
        scale, weight = torch.empty(2, channels, device="meta"), torch.empty(channels, device="meta")
        launch_scale_shift(x, *([weight if affine else None] * 2), channels, 1e-5, scale, scale)

    return launch


def elements(options: dict[str, Any]) -> int:
    """Of a tile; of the merge, the parts that one turn of its loops takes."""
    return options["VOXELS"] * options["CHANNELS"] if "VOXELS" in options else options["BLOCK"]


CASES = tuple(
    Case(f"channel_scale_shift/{name}", run(*how), elements, loop=True, loads=(128,), always=always)
    for name, how, always in (
        ("float32/first", (F32, 64, False, True), True),
        ("float16/first", (F16, 64, False, False), False),
        ("float16/last", (F16, 64, True, True), True),
        ("float16/last/48", (F16, 48, True, False), False),
        ("bfloat16/last", (BF16, 64, True, True), False),
    )
)
