"""Normalisation by a scale and shift a channel, an optional residual and (leaky) ReLU: one pass over memory."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from umlite.kernels.triton.launch import on_device_of
from umlite.kernels.triton.tiles import tile_of


def launch_norm_act(
    x: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None, slope: float, out: Tensor
) -> None:
    """`out` of the same shape and strides as x and residual [N, C, D, H, W]. scale, shift: float32 [N, C]."""
    if not x.numel():
        return
    flat = x.flatten(2)
    n, channels, voxels = flat.shape
    tile = tile_of(flat)
    grid = (triton.cdiv(voxels, tile["VOXELS"]), triton.cdiv(channels, tile["CHANNELS"]), n)
    sizes = (channels, voxels, *flat.stride())
    with on_device_of(x):
        scale_shift_act[grid](x, scale, shift, residual, out, slope, *sizes, **tile, num_warps=4, enable_fp_fusion=True)


@triton.jit
def scale_shift_act(
    x,  # [N, C, V], any strides
    scale,  # [N, C] float32
    shift,  # [N, C] float32
    residual,  # as x, or None
    out,  # as x
    slope,
    channels,  # C
    voxels,  # V
    window_stride,
    channel_stride,
    voxel_stride,
    VOXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Leaky ReLU of `scale * x + shift + residual`. Programs: (tiles of voxels, tiles of channels, windows)."""
    i_window = tl.program_id(2).to(tl.int64)
    o_channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    o_voxel = tl.program_id(0) * VOXELS + tl.arange(0, VOXELS)
    m_channel = o_channel < channels
    m_tile = (o_voxel < voxels)[:, None] & m_channel[None, :]
    o_tile = i_window * window_stride + o_voxel[:, None].to(tl.int64) * voxel_stride
    o_tile = o_tile + o_channel[None, :].to(tl.int64) * channel_stride
    b_scale = tl.load(scale + i_window * channels + o_channel, mask=m_channel, other=0.0)
    b_shift = tl.load(shift + i_window * channels + o_channel, mask=m_channel, other=0.0)
    b_x = tl.load(x + o_tile, mask=m_tile, other=0.0).to(tl.float32)
    b_y = tl.fma(b_x, b_scale[None, :], b_shift[None, :])
    if residual is not None:
        b_y += tl.load(residual + o_tile, mask=m_tile, other=0.0).to(tl.float32)
    b_y = tl.where(b_y < 0.0, b_y * slope, b_y)
    tl.store(out + o_tile, b_y.to(out.dtype.element_ty), mask=m_tile)
