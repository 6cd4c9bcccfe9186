"""The launch of the blending that the budget table covers: a window whose logits are kept and used again."""

from __future__ import annotations

from typing import Any

import torch

from support.gpu.budgets import Case
from umlite.kernels.triton.blend import launch_blend


def blend() -> None:
    importance, starts = torch.empty(96, 96, 96, device="meta"), torch.empty(1, 3, dtype=torch.int64, device="meta")
    logits, sums = torch.empty(1, 32, 96, 96, 96, device="meta"), torch.empty(32, 96, 400, 320, device="meta")
    launch_blend(logits, importance, sums, starts)


def elements(options: dict[str, Any]) -> int:
    """Voxels of a block, in one turn of the loop over classes."""
    return options["BLOCK"]


CASES = (Case("blend/float32", blend, elements, loop=True, loads=(128,), always=True),)
