"""Where the voxels of a window lie in the sums of a scan."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def sum_offsets(o_voxel, p_start, rows, columns, x_stride, y_stride):
    """Of voxels of a window in sums [X, Y, Z], contiguous along Z. p_start: the window's first voxel, three int64."""
    o_line = o_voxel // columns
    o_x = tl.load(p_start) + o_line // rows
    o_y = tl.load(p_start + 1) + o_line % rows
    o_z = tl.load(p_start + 2) + o_voxel % columns
    return o_x * x_stride + o_y * y_stride + o_z
