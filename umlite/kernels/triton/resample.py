"""Resampling on a GPU: every target voxel finds its place in the source by a float64 affine map.

Tiles reach over the first and the last axis, so that one of source and target may have its first axis contiguous and
the other its last, as a NIfTI file and a tensor have, and both are read and written by whole cache lines.
"""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from umlite.kernels.triton.launch import on_device_of
from umlite.volume.resampling import axis_positions

TILE_X, TILE_Z, WARPS = 16, 32, 4


def launch_resample_hu(volume: Tensor, to_source: np.ndarray, low_hu: float, high_hu: float, out: Tensor) -> None:
    """Fill `out` [X', Y', Z'] float32 with `volume` [X, Y, Z] float32 or int16, trilinear, HU to [0, 1]; any strides.

    to_source: float64 [4, 4], index of `out` -> index of `volume`.
    """
    if not out.numel():
        return
    matrix = _device_matrix(to_source, out)
    tiles = triton.cdiv(out.shape[0], TILE_X) * triton.cdiv(out.shape[2], TILE_Z)
    with on_device_of(volume):
        resample_hu_kernel[(tiles, out.shape[1])](
            volume,
            matrix,
            out,
            low_hu,
            high_hu - low_hu,
            *volume.shape,
            *volume.stride(),
            out.shape[0],
            out.shape[2],
            *out.stride(),
            TILE_X=TILE_X,
            TILE_Z=TILE_Z,
            num_warps=WARPS,
            enable_fp_fusion=True,
        )


def _device_matrix(to_source: np.ndarray, out: Tensor) -> Tensor:
    """Float64 [3, 4]; a map that the reference takes axis by axis becomes exactly that."""
    matrix = to_source[:3].copy()
    positions = axis_positions(to_source, (out.shape[0], out.shape[1], out.shape[2]))
    if positions is not None:
        matrix[:, :3] = np.diag(np.diag(matrix[:, :3]))
        matrix[:, 3] = [position[0] for position in positions]
    if out.is_meta:
        return torch.empty(3, 4, dtype=torch.float64, device="meta")
    return torch.from_numpy(matrix).to(out.device)


@triton.jit
def position_on(p_row, o_x, o_y, o_z):
    """Float64 [TILE_X, TILE_Z]: where the targets lie along the source axis whose row of the map begins at `p_row`."""
    b_along = tl.load(p_row + 1) * o_y.to(tl.float64) + tl.load(p_row + 3)
    return tl.load(p_row) * o_x.to(tl.float64) + (tl.load(p_row + 2) * o_z.to(tl.float64) + b_along)


@triton.jit
def neighbours(b_position, size, stride):
    """Offsets of the voxels below and above a position within an axis, and the weight of the one above."""
    last = size.to(tl.float64) - 1
    b_position = tl.minimum(tl.maximum(b_position, 0.0), last)
    b_below = tl.floor(b_position + 1e-7)  # as the reference: a position on a voxel takes that voxel alone
    b_weight = tl.maximum(b_position - b_below, 0.0).to(tl.float32)
    o_below = b_below.to(tl.int64)
    o_above = tl.minimum(b_below + 1, last).to(tl.int64)
    return o_below * stride, o_above * stride, b_weight


@triton.jit
def voxel(p_voxel, m_target):
    return tl.load(p_voxel, mask=m_target, other=0).to(tl.float32)


@triton.jit
def between(b_low, b_high, b_weight):
    return tl.fma(b_weight, b_high - b_low, b_low)


@triton.jit(do_not_specialize=["size_x", "size_y", "size_z", "shape_x", "shape_z"])
def resample_hu_kernel(
    volume,  # [X, Y, Z] float32 or int16, any strides
    matrix,  # [3, 4] float64, index of `out` -> index of `volume`
    out,  # [X', Y', Z'] float32, any strides
    low_hu,
    width_hu,
    size_x,
    size_y,
    size_z,
    stride_x,
    stride_y,
    stride_z,
    shape_x,  # X'
    shape_z,  # Z'
    out_stride_x,
    out_stride_y,
    out_stride_z,
    TILE_X: tl.constexpr,
    TILE_Z: tl.constexpr,
):
    """Programs: (tiles along Z' within tiles along X', rows of Y')."""
    tiles = tl.cdiv(shape_z, TILE_Z)
    o_x = (tl.program_id(0) // tiles * TILE_X + tl.arange(0, TILE_X))[:, None]
    o_y = tl.program_id(1)
    o_z = (tl.program_id(0) % tiles * TILE_Z + tl.arange(0, TILE_Z))[None, :]
    m_target = (o_x < shape_x) & (o_z < shape_z)
    o_x0, o_x1, b_x = neighbours(position_on(matrix, o_x, o_y, o_z), size_x, stride_x)
    o_y0, o_y1, b_y = neighbours(position_on(matrix + 4, o_x, o_y, o_z), size_y, stride_y)
    o_z0, o_z1, b_z = neighbours(position_on(matrix + 8, o_x, o_y, o_z), size_z, stride_z)
    b_00 = between(voxel(volume + o_x0 + o_y0 + o_z0, m_target), voxel(volume + o_x1 + o_y0 + o_z0, m_target), b_x)
    b_01 = between(voxel(volume + o_x0 + o_y0 + o_z1, m_target), voxel(volume + o_x1 + o_y0 + o_z1, m_target), b_x)
    b_10 = between(voxel(volume + o_x0 + o_y1 + o_z0, m_target), voxel(volume + o_x1 + o_y1 + o_z0, m_target), b_x)
    b_11 = between(voxel(volume + o_x0 + o_y1 + o_z1, m_target), voxel(volume + o_x1 + o_y1 + o_z1, m_target), b_x)
    b_hu = between(between(b_00, b_10, b_y), between(b_01, b_11, b_y), b_z)
    b_out = tl.div_rn(b_hu - low_hu, width_hu)
    b_out = tl.where(b_out < 0.0, 0.0, tl.where(b_out > 1.0, 1.0, b_out))  # NaN stays NaN, as in the reference
    p_out = out + o_x.to(tl.int64) * out_stride_x + o_y.to(tl.int64) * out_stride_y + o_z.to(tl.int64) * out_stride_z
    tl.store(p_out, b_out, mask=m_target)
