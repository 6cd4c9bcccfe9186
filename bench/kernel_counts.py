"""Instructions that the compiled Triton kernels issue, from the table that the tests hold them to.

`umlite/kernels/triton/budgets.json` has, for each kernel and target, how many instructions a thread issues for one
element: a score of the attention, a voxel of a channel, a voxel of a class. Work done once a block is left out.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parents[1] / "umlite" / "kernels" / "triton" / "budgets.json"
TRITON = "3.7"  # the one that torch 2.13 requires
QUERIES, KEYS = 64, 32  # of a block of the attention: rows and columns past the last token are computed too


@functools.cache
def _table() -> dict[str, Any]:
    return json.loads(TABLE.read_text())


def per_element(kernel: str, target: str) -> float:
    """Instructions an element. Raises KeyError for a kernel that the table does not hold."""
    return float(_table()[kernel][target][TRITON]["instructions"])


def norm_act(elements: int, target: str) -> float:
    """Statistics, then normalisation and activation, of so many numbers in float16, channels last."""
    return statistics(elements, target) + elements * per_element("norm_act/float16/last", target)


def statistics(elements: int, target: str) -> float:
    return elements * per_element("channel_scale_shift/float16/last:partial_statistics", target)


def attention(grid: Sequence[int], heads: int, window: int, shift: int, target: str) -> float:
    """Of all windows of a token grid [D, H, W]."""
    sides = [min(side, window) for side in grid]
    windows = math.prod(-(-size // side) for size, side in zip(grid, sides, strict=True))
    tokens = math.prod(sides)
    scores = math.ceil(tokens / QUERIES) * QUERIES * math.ceil(tokens / KEYS) * KEYS
    shifted = shift and any(size > window for size in grid)
    kernel = "window_attention/float16/shifted" if shifted else "window_attention/float16"
    return windows * heads * scores * per_element(kernel, target)


def heads(voxels: int, classes: int, target: str) -> float:
    """From feature to sums, but for what is done once a voxel and not once a class."""
    return voxels * classes * per_element("fused_heads/float16", target)


def gather(voxels: int, target: str) -> float:
    return voxels * per_element("gather/float16", target)


def decide(voxels: int, classes: int, target: str) -> float:
    return voxels * classes * per_element("decide/32", target)
