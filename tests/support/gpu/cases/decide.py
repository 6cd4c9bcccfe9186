"""Launches of the decision that the budget table covers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from support.gpu.budgets import Case
from umlite.kernels.triton.decide import launch_decide


def decide(classes: int, kind: torch.dtype) -> Callable[[], None]:
    def run() -> None:
        sums = torch.empty(classes, 48, 400, 320, device="meta")
        broken = torch.empty((), dtype=kind, device="meta")
        launch_decide(sums, torch.empty(48, 400, 320, dtype=kind, device="meta"), broken)

    return run


def elements(options: dict[str, Any]) -> int:
    """Voxels of a block, in one turn of the loop over classes."""
    return options["BLOCK"]


CASES = (
    Case("decide/32", decide(32, torch.int32), elements, loop=True, loads_a_turn=1, always=True),
    Case("decide/40", decide(40, torch.int64), elements, loop=True, loads_a_turn=1),
)
