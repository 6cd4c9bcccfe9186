"""Launches of norm_act that the budget table covers: both memory formats, with and without its options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from support.gpu.budgets import Case
from umlite.kernels.triton.norm_act import launch_norm_act, launch_scale_shift


def run(dtype: torch.dtype, channels: int, last: bool, options: bool) -> Callable[[], None]:
    def launch() -> None:
        x = torch.empty(2, channels, 96, 96, 96, dtype=dtype, device="meta")
        if last:
            x = x.to(memory_format=torch.channels_last_3d)
        scale, affine = torch.empty(2, channels, device="meta"), torch.empty(channels, device="meta")
        weight, residual = (affine, x) if options else (None, None)
        launch_scale_shift(x, weight, weight, channels, 1e-5, scale, scale)
        launch_norm_act(x, scale, scale, residual, 0.01, x)

    return launch


def elements(options: dict[str, Any]) -> int:
    """Of a tile; of the merge, the parts that one turn of its loops takes."""
    return options["VOXELS"] * options["CHANNELS"] if "VOXELS" in options else options["BLOCK"]


CASES = (
    Case("norm_act/float32/first", run(torch.float32, 64, False, True), elements, loop=True, loads=(128,), always=True),
    Case("norm_act/float16/first", run(torch.float16, 64, False, False), elements, loop=True, loads=(128,)),
    Case("norm_act/float16/last", run(torch.float16, 64, True, True), elements, loop=True, loads=(128,), always=True),
    Case("norm_act/float16/last/48", run(torch.float16, 48, True, False), elements, loop=True, loads=(128,)),
    Case("norm_act/bfloat16/last", run(torch.bfloat16, 64, True, True), elements, loop=True, loads=(128,)),
)
