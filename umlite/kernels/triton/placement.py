"""Where the voxels of a window lie in logits, or in the sums of a scan."""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def voxels_of_block(first, voxels, BLOCK: tl.constexpr):
    """This program's window, counted from `first`, its voxels of that window, and which of them there are."""
    window = (tl.program_id(1) + first).to(tl.int64)
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    return window, i, i < voxels


@triton.jit
def out_offsets(
    i, window, starts, rows, columns, window_stride, x_stride, y_stride, ACCUMULATE: tl.constexpr
):  # fmt: skip
    """Of voxels `i` of a window: in logits or, where `starts` says that the window begins, in the scan's sums."""
    if ACCUMULATE:
        line = i // columns
        x = tl.load(starts + 3 * window) + line // rows
        y = tl.load(starts + 3 * window + 1) + line % rows
        z = tl.load(starts + 3 * window + 2) + i % columns
        offsets = x * x_stride + y * y_stride + z
    else:
        offsets = window * window_stride + i
    return offsets
