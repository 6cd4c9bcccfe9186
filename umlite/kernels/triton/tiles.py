"""Tiles [voxels, channels] of [N, C, voxels] with any strides, along what is contiguous.

A tile is a column of one channel where voxels are neighbours in memory, several channels where channels are.
"""

from __future__ import annotations

import triton
from torch import Tensor

ELEMENTS = 2048
"""Of a tile: with 4 warps two 128-bit loads of 16-bit numbers a thread; with 8, for statistics, one."""


def tile_of(x: Tensor) -> dict[str, int]:
    """Voxels and channels of a tile of [N, C, voxels], without padding common widths."""
    channels = x.shape[1]
    if x.stride(1) != 1 or channels == 1:
        return {"VOXELS": ELEMENTS, "CHANNELS": 1}
    divisor = min(channels & -channels, 64)
    if divisor >= 16:
        return {"VOXELS": ELEMENTS // divisor, "CHANNELS": divisor}
    width = min(triton.next_power_of_2(channels), 64)
    return {"VOXELS": ELEMENTS // 2 // width, "CHANNELS": width}  # each channel masked: a whole tile would spill
