"""Windows cut out of a scan on a GPU: a straight copy, so memory alone sets its speed."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from umlite.kernels.triton.launch import on_device_of

BLOCK, WARPS = 1024, 4


def launch_gather(volume: Tensor, starts: Tensor, windows: Tensor) -> None:
    """Fill `windows` [N, 1, D, H, W], contiguous, from `volume` [X, Y, Z] of any strides; zeros outside the volume.

    starts: [N, 3] int64 on the same device. The dtypes may differ.
    """
    if not windows.numel():
        return
    n, _, depth, rows, columns = windows.shape
    with on_device_of(volume):
        gather_kernel[(triton.cdiv(depth * rows * columns, BLOCK), n)](
            volume,
            starts.contiguous(),
            windows,
            *volume.shape,
            *volume.stride(),
            DEPTH=depth,
            ROWS=rows,
            COLUMNS=columns,
            BLOCK=BLOCK,
            num_warps=WARPS,
            enable_fp_fusion=True,
        )


@triton.jit(do_not_specialize=["size_x", "size_y", "size_z"])
def gather_kernel(
    volume,  # [X, Y, Z], any strides
    starts,  # [N, 3] int64
    windows,  # [N, 1, DEPTH, ROWS, COLUMNS], contiguous
    size_x,
    size_y,
    size_z,
    stride_x,
    stride_y,
    stride_z,
    DEPTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Programs: (blocks of voxels of a window, windows)."""
    VOXELS: tl.constexpr = DEPTH * ROWS * COLUMNS
    i_window = tl.program_id(1).to(tl.int64)
    o_voxel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    p_start = starts + 3 * i_window
    o_x = tl.load(p_start) + o_voxel // (ROWS * COLUMNS)
    o_y = tl.load(p_start + 1) + o_voxel // COLUMNS % ROWS
    o_z = tl.load(p_start + 2) + o_voxel % COLUMNS
    m_inside = (o_x >= 0) & (o_x < size_x) & (o_y >= 0) & (o_y < size_y) & (o_z >= 0) & (o_z < size_z)
    m_voxel = o_voxel < VOXELS
    p_volume = volume + o_x * stride_x + o_y * stride_y + o_z * stride_z
    b_voxel = tl.load(p_volume, mask=m_inside & m_voxel, other=0.0)
    tl.store(windows + i_window * VOXELS + o_voxel, b_voxel.to(windows.dtype.element_ty), mask=m_voxel)
