"""Statistics of channels or groups of them, as the scale and shift of each channel that normalise it."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from umlite.kernels.triton.launch import on_device_of
from umlite.kernels.triton.tiles import tile_of

MOST_STEPS = 16  # tiles that one program takes


def launch_scale_shift(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, groups: int, eps: float, scale: Tensor, shift: Tensor
) -> None:
    """Scale and shift, float32 [N, C], that group norm of x [N, C, D, H, W] amounts to."""
    if not x.numel():
        return
    x = x.flatten(2)
    n, channels, voxels = x.shape
    tile = tile_of(x)
    blocks = triton.cdiv(voxels, tile["VOXELS"])
    steps = min(blocks, MOST_STEPS)
    parts = triton.cdiv(blocks, steps)
    partials = torch.empty(n, channels, parts, 2, dtype=torch.float32, device=x.device)
    grid = (parts, triton.cdiv(channels, tile["CHANNELS"]), n)
    with on_device_of(x):
        partial_statistics[grid](
            x, partials, channels, voxels, steps, *x.stride(), **tile, num_warps=8, enable_fp_fusion=True
        )
        sizes = (channels, groups, voxels, parts, steps * tile["VOXELS"])
        merge_statistics[(groups, n)](
            partials, weight, bias, scale, shift, *sizes, eps, BLOCK=256, num_warps=2, enable_fp_fusion=True
        )


@triton.jit
def partial_statistics(
    x,  # [N, C, V], any strides
    partials,  # [N, C, parts, 2] float32
    channels,  # C
    voxels,  # V
    steps,  # tiles of a part
    window_stride,
    channel_stride,
    voxel_stride,
    VOXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Mean and sum of squared deviations of a part of each channel, by Welford's recurrence.

    Programs: (parts, tiles of channels, windows). Each place of the tile has a recurrence; they are merged last.
    """
    i_part = tl.program_id(0)
    i_window = tl.program_id(2).to(tl.int64)
    o_channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    o_voxel = i_part * (steps * VOXELS) + tl.arange(0, VOXELS)
    m_channel = o_channel < channels
    p_x = x + i_window * window_stride
    p_x = p_x + o_voxel[:, None].to(tl.int64) * voxel_stride + o_channel[None, :].to(tl.int64) * channel_stride
    b_mean = tl.zeros((VOXELS, CHANNELS), tl.float32)
    b_squares = tl.zeros((VOXELS, CHANNELS), tl.float32)
    b_count = tl.zeros((VOXELS, 1), tl.float32)
    for step in range(steps):
        m_voxel = (o_voxel < voxels)[:, None]
        b_x = tl.load(p_x, mask=m_voxel & m_channel[None, :], other=0.0).to(tl.float32)
        b_change = tl.where(m_voxel, b_x - b_mean, 0.0)
        b_mean = tl.fma(b_change, 1.0 / (step + 1), b_mean)
        b_squares = tl.where(m_voxel, tl.fma(b_change, b_x - b_mean, b_squares), b_squares)
        b_count += m_voxel.to(tl.float32)
        o_voxel += VOXELS
        p_x += VOXELS * voxel_stride
    b_total = tl.sum(b_count, axis=0)
    b_average = tl.sum(b_mean * b_count, axis=0) / b_total
    b_away = b_mean - b_average[None, :]
    b_spread = tl.sum(b_squares + b_away * b_away * b_count, axis=0)
    p_partials = partials + ((i_window * channels + o_channel) * tl.num_programs(0) + i_part) * 2
    tl.store(p_partials, b_average, mask=m_channel)
    tl.store(p_partials + 1, b_spread, mask=m_channel)


@triton.jit
def merge_statistics(
    partials,  # [N, C, parts, 2] float32
    weight,  # [C] or None
    bias,  # [C] or None
    scale,  # [N, C] float32
    shift,  # [N, C] float32
    channels,  # C
    groups,
    voxels,
    parts,
    part_voxels,  # of every part but the last
    eps,
    BLOCK: tl.constexpr,
):
    """The parts of a group, which lie one after the other, to the scale and shift of its channels.

    Programs: (groups, windows).
    """
    i_group = tl.program_id(0)
    i_window = tl.program_id(1).to(tl.int64)
    size = channels // groups
    first = i_window * channels + i_group * size
    p_partials = partials + first * parts * 2
    total = size.to(tl.float32) * voxels
    entries = size * parts
    o_entry = tl.arange(0, BLOCK)
    b_mean = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, entries, BLOCK):
        m_entry = start + o_entry < entries
        b_count = tl.minimum(part_voxels, voxels - (start + o_entry) % parts * part_voxels).to(tl.float32)
        b_mean += tl.load(p_partials + (start + o_entry) * 2, mask=m_entry, other=0.0) * (b_count / total)
    b_average = tl.sum(b_mean, axis=0)
    b_squares = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, entries, BLOCK):
        m_entry = start + o_entry < entries
        b_count = tl.minimum(part_voxels, voxels - (start + o_entry) % parts * part_voxels).to(tl.float32)
        b_away = tl.load(p_partials + (start + o_entry) * 2, mask=m_entry, other=0.0) - b_average
        b_within = tl.load(p_partials + (start + o_entry) * 2 + 1, mask=m_entry, other=0.0)
        b_squares += tl.where(m_entry, tl.fma(b_away * b_away, b_count, b_within), 0.0)
    b_inverse = 1.0 / tl.sqrt(tl.sum(b_squares, axis=0) / total + eps)
    for start in range(0, size, BLOCK):
        o_own = start + o_entry
        o_channel = i_group * size + o_own
        m_own = o_own < size
        b_scale = tl.zeros((BLOCK,), tl.float32) + b_inverse
        if weight is not None:
            b_scale *= tl.load(weight + o_channel, mask=m_own, other=0.0).to(tl.float32)
        b_shift = -b_average * b_scale
        if bias is not None:
            b_shift += tl.load(bias + o_channel, mask=m_own, other=0.0).to(tl.float32)
        tl.store(scale + first + o_own, b_scale, mask=m_own)
        tl.store(shift + first + o_own, b_shift, mask=m_own)
