"""Resampling on a GPU: every target voxel finds its place in the source by a float64 affine map.

Tiles reach over the first and the last axis, so that one of source and target may have its first axis contiguous and
the other its last, as a NIfTI file and a tensor have, and both are read and written by whole cache lines.
"""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from umlite.kernels.triton.launch import on_device_of
from umlite.volume.resampling import axis_positions

TILE_X, TILE_Z, WARPS = 16, 32, 4

Shape = tuple[int, int, int]


def launch_resample_hu(volume: Tensor, to_source: np.ndarray, low_hu: float, high_hu: float, out: Tensor) -> None:
    """Fill `out` [X', Y', Z'] float32 with `volume` [X, Y, Z] float32 or int16, trilinear, HU to [0, 1]; any strides.

    to_source: float64 [4, 4], index of `out` -> index of `volume`.
    """
    if not out.numel():
        return
    matrix = _device_matrix(to_source, out)
    with on_device_of(volume):
        resample_hu_kernel[_grid(out)](
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


def launch_resample_bits(bits: Tensor, to_source: np.ndarray, source_shape: Shape, start: Shape, out: Tensor) -> None:
    """Fill `out` [X', Y', Z'] with the nearest of `bits` [X, Y, Z], of one integer type and any strides.

    to_source: float64 [4, 4], index of `out` -> index of a source of `source_shape` that holds `bits` from index
    `start` on and is 0 elsewhere.
    """
    if not out.numel():
        return
    matrix = _device_matrix(to_source, out)
    with on_device_of(bits):
        resample_bits_kernel[_grid(out)](
            bits,
            matrix,
            out,
            *source_shape,
            *start,
            *bits.shape,
            *bits.stride(),
            out.shape[0],
            out.shape[2],
            *out.stride(),
            TILE_X=TILE_X,
            TILE_Z=TILE_Z,
            num_warps=WARPS,
            enable_fp_fusion=True,
        )


def _grid(out: Tensor) -> tuple[int, int]:
    """(tiles along the last axis within tiles along the first, rows of the second)."""
    return triton.cdiv(out.shape[0], TILE_X) * triton.cdiv(out.shape[2], TILE_Z), out.shape[1]


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
def tile_of(shape_x, shape_z, TILE_X: tl.constexpr, TILE_Z: tl.constexpr):
    """Target indices of this program: x [TILE_X, 1], y, z [1, TILE_Z], and which of them there are."""
    tiles = tl.cdiv(shape_z, TILE_Z)
    x = (tl.program_id(0) // tiles * TILE_X + tl.arange(0, TILE_X))[:, None]
    z = (tl.program_id(0) % tiles * TILE_Z + tl.arange(0, TILE_Z))[None, :]
    return x, tl.program_id(1), z, (x < shape_x) & (z < shape_z)


@triton.jit
def position_on(row, x, y, z):
    """Float64 [TILE_X, TILE_Z]: where the targets lie along the source axis whose row of the map begins at `row`."""
    along = tl.load(row + 1) * y.to(tl.float64) + tl.load(row + 3)
    return tl.load(row) * x.to(tl.float64) + (tl.load(row + 2) * z.to(tl.float64) + along)


@triton.jit
def neighbours(position, size, stride):
    """Offsets of the voxels below and above a position within an axis, and the weight of the one above."""
    last = size.to(tl.float64) - 1
    position = tl.minimum(tl.maximum(position, 0.0), last)
    below = tl.floor(position + 1e-7)  # as the reference: a position on a voxel takes that voxel alone
    weight = tl.maximum(position - below, 0.0).to(tl.float32)
    lower = below.to(tl.int64)
    upper = tl.minimum(below + 1, last).to(tl.int64)
    return lower * stride, upper * stride, weight


@triton.jit
def voxel(p, mask):
    return tl.load(p, mask=mask, other=0).to(tl.float32)


@triton.jit
def between(low, high, weight):
    return tl.fma(weight, high - low, low)


@triton.jit(do_not_specialize=["size_x", "size_y", "size_z", "shape_x", "shape_z"])
def resample_hu_kernel(
    volume,
    matrix,
    out,
    low_hu,
    width_hu,
    size_x,
    size_y,
    size_z,
    stride_x,
    stride_y,
    stride_z,
    shape_x,
    shape_z,
    out_stride_x,
    out_stride_y,
    out_stride_z,
    TILE_X: tl.constexpr,
    TILE_Z: tl.constexpr,
):
    """Programs: as `_grid` has them."""
    x, y, z, mask = tile_of(shape_x, shape_z, TILE_X, TILE_Z)
    x0, x1, w_x = neighbours(position_on(matrix, x, y, z), size_x, stride_x)
    y0, y1, w_y = neighbours(position_on(matrix + 4, x, y, z), size_y, stride_y)
    z0, z1, w_z = neighbours(position_on(matrix + 8, x, y, z), size_z, stride_z)
    b00 = between(voxel(volume + x0 + y0 + z0, mask), voxel(volume + x1 + y0 + z0, mask), w_x)
    b01 = between(voxel(volume + x0 + y0 + z1, mask), voxel(volume + x1 + y0 + z1, mask), w_x)
    b10 = between(voxel(volume + x0 + y1 + z0, mask), voxel(volume + x1 + y1 + z0, mask), w_x)
    b11 = between(voxel(volume + x0 + y1 + z1, mask), voxel(volume + x1 + y1 + z1, mask), w_x)
    b_hu = between(between(b00, b10, w_y), between(b01, b11, w_y), w_z)
    b_value = tl.div_rn(b_hu - low_hu, width_hu)
    b_value = tl.where(b_value < 0.0, 0.0, tl.where(b_value > 1.0, 1.0, b_value))  # NaN stays NaN, as in the reference
    p_out = out + x.to(tl.int64) * out_stride_x + y.to(tl.int64) * out_stride_y + z.to(tl.int64) * out_stride_z
    tl.store(p_out, b_value, mask=mask)


@triton.jit
def nearest(position, source_size, start):
    """Index, counted from `start`, of the voxel nearest to a position; half way, and 1e-6 before it, the higher one."""
    index = tl.floor(position + 0.5 + 1e-6)
    index = tl.minimum(tl.maximum(index, 0.0), source_size.to(tl.float64) - 1)
    return index.to(tl.int64) - start


SIZES = [
    *("source_x", "source_y", "source_z", "start_x", "start_y", "start_z"),
    *("size_x", "size_y", "size_z", "shape_x", "shape_z"),
]


@triton.jit(do_not_specialize=SIZES)
def resample_bits_kernel(
    bits,
    matrix,
    out,
    source_x,
    source_y,
    source_z,
    start_x,
    start_y,
    start_z,
    size_x,
    size_y,
    size_z,
    stride_x,
    stride_y,
    stride_z,
    shape_x,
    shape_z,
    out_stride_x,
    out_stride_y,
    out_stride_z,
    TILE_X: tl.constexpr,
    TILE_Z: tl.constexpr,
):
    """Programs: as `_grid` has them."""
    x, y, z, mask = tile_of(shape_x, shape_z, TILE_X, TILE_Z)
    from_x = nearest(position_on(matrix, x, y, z), source_x, start_x)
    from_y = nearest(position_on(matrix + 4, x, y, z), source_y, start_y)
    from_z = nearest(position_on(matrix + 8, x, y, z), source_z, start_z)
    inside = mask & (from_x >= 0) & (from_x < size_x) & (from_y >= 0) & (from_y < size_y)
    inside = inside & (from_z >= 0) & (from_z < size_z)
    b_bits = tl.load(bits + from_x * stride_x + from_y * stride_y + from_z * stride_z, mask=inside, other=0)
    p_out = out + x.to(tl.int64) * out_stride_x + y.to(tl.int64) * out_stride_y + z.to(tl.int64) * out_stride_z
    tl.store(p_out, b_bits, mask=mask)
