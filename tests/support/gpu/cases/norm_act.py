"""Launches of norm_act that the budget table covers: both memory formats, with and without a residual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from support.gpu.budgets import Case
from umlite.kernels.triton.norm_act import launch_norm_act

F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16


def run(dtype: torch.dtype, channels: int, last: bool, residual: bool) -> Callable[[], None]:
    def launch() -> None:
        x = torch.empty(2, channels, 96, 96, 96, dtype=dtype, device="meta")
        if last:
            x = x.to(memory_format=torch.channels_last_3d)
        scale = torch.empty(2, channels, device="meta")
        launch_norm_act(x, scale, scale, x if residual else None, 0.01, x)

    return launch


def elements(options: dict[str, Any]) -> int:
    """Of a tile."""
    return options["VOXELS"] * options["CHANNELS"]


CASES = (
    Case("norm_act/float32/first", run(F32, 64, False, True), elements, loads=(128,), always=True),
    Case("norm_act/float16/first", run(F16, 64, False, False), elements, loads=(128,)),
    Case("norm_act/float16/last", run(F16, 64, True, True), elements, loads=(128,), always=True),
    Case("norm_act/float16/last/48", run(F16, 48, True, False), elements, loads=(128,)),
    Case("norm_act/bfloat16/last", run(BF16, 64, True, True), elements, loads=(128,)),
)
