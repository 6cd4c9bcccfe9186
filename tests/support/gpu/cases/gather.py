"""Launches of the window gather that the budget table covers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from support.gpu.budgets import Case
from umlite.kernels.triton.gather import launch_gather


def gather(dtype: torch.dtype) -> Callable[[], None]:
    def run() -> None:
        volume = torch.empty(347, 401, 317, device="meta")
        starts = torch.empty(4, 3, dtype=torch.int64, device="meta")
        launch_gather(volume, starts, torch.empty(4, 1, 96, 96, 96, dtype=dtype, device="meta"))

    return run


def elements(options: dict[str, Any]) -> int:
    """Voxels of a block."""
    return options["BLOCK"]


CASES = (
    Case("gather/float32", gather(torch.float32), elements),
    Case("gather/float16", gather(torch.float16), elements, always=True),
    Case("gather/bfloat16", gather(torch.bfloat16), elements),
)
