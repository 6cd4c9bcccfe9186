"""Launches of the blending that the budget table covers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from support.gpu.budgets import Case
from umlite.kernels.triton.blend import launch_blend


def blend(dtype: torch.dtype) -> Callable[[], None]:
    def run() -> None:
        logits = torch.empty(2, 32, 96, 96, 96, dtype=dtype, device="meta")
        importance, starts = (
            torch.empty(96, 96, 96, device="meta"),
            torch.empty(2, 3, dtype=torch.int64, device="meta"),
        )
        launch_blend(logits, importance, torch.empty(32, 96, 400, 320, device="meta"), starts)

    return run


def elements(options: dict[str, Any]) -> int:
    """Voxels of a block, in one turn of the loop over classes."""
    return options["BLOCK"]


CASES = (
    Case("blend/float32", blend(torch.float32), elements, loop=True, loads=(128,), always=True),
    Case("blend/float16", blend(torch.float16), elements, loop=True, loads=(128,)),
)
