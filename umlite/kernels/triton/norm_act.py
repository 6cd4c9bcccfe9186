"""Normalisation in two passes: statistics of channels or groups as a scale and shift a channel, then their use.

Works on tiles [voxels, channels] of [N, C, voxels] with any strides: a column of one channel where voxels are
neighbours in memory, several channels where channels are.
"""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from umlite.kernels.triton.launch import on_device_of

TILE = 2048  # elements: 16 a thread, two 128-bit loads of 16-bit numbers; half as many for statistics, which keep three
MOST_STEPS = 16  # tiles that one program takes for the statistics


@triton.jit
def partial_statistics(
    x,
    partials,
    channels,
    voxels,
    steps,
    window_stride,
    channel_stride,
    voxel_stride,
    VOXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Mean and sum of squared deviations of a part of each channel, [N, C, parts, 2], by Welford's recurrence.

    Programs: (parts, tiles of channels, windows). Each place of the tile keeps its own recurrence;
    they are merged last.
    """
    part = tl.program_id(0)
    window = tl.program_id(2).to(tl.int64)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    v = part * (steps * VOXELS) + tl.arange(0, VOXELS)
    p = x + window * window_stride + v[:, None].to(tl.int64) * voxel_stride + c[None, :].to(tl.int64) * channel_stride
    mean = tl.zeros((VOXELS, CHANNELS), tl.float32)
    squares = tl.zeros((VOXELS, CHANNELS), tl.float32)
    count = tl.zeros((VOXELS, 1), tl.float32)
    for step in range(steps):
        there = (v < voxels)[:, None]
        value = tl.load(p, mask=there & (c < channels)[None, :], other=0.0).to(tl.float32)
        change = tl.where(there, value - mean, 0.0)
        mean = tl.fma(change, 1.0 / (step + 1), mean)
        squares = tl.where(there, tl.fma(change, value - mean, squares), squares)
        count += there.to(tl.float32)
        v += VOXELS
        p += VOXELS * voxel_stride
    total = tl.sum(count, axis=0)
    average = tl.sum(mean * count, axis=0) / total
    away = mean - average[None, :]
    spread = tl.sum(squares + away * away * count, axis=0)
    out = partials + ((window * channels + c) * tl.num_programs(0) + part) * 2
    tl.store(out, average, mask=c < channels)
    tl.store(out + 1, spread, mask=c < channels)


@triton.jit
def merge_statistics(
    partials,
    weight,
    bias,
    scale,
    shift,
    channels,
    groups,
    voxels,
    parts,
    part_voxels,
    eps,
    BLOCK: tl.constexpr,
):
    """Scale and shift [N, C] that normalise each group of channels; its parts lie one after the other.

    Programs: (groups, windows).
    """
    window = tl.program_id(1).to(tl.int64)
    size = channels // groups
    first = window * channels + tl.program_id(0) * size
    partials += first * parts * 2
    total = size.to(tl.float32) * voxels
    entries = size * parts
    e = tl.arange(0, BLOCK)
    mean = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, entries, BLOCK):
        there = start + e < entries
        count = tl.minimum(part_voxels, voxels - (start + e) % parts * part_voxels).to(tl.float32)
        mean += tl.load(partials + (start + e) * 2, mask=there, other=0.0) * (count / total)
    average = tl.sum(mean, axis=0)
    squares = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, entries, BLOCK):
        there = start + e < entries
        count = tl.minimum(part_voxels, voxels - (start + e) % parts * part_voxels).to(tl.float32)
        away = tl.load(partials + (start + e) * 2, mask=there, other=0.0) - average
        within = tl.load(partials + (start + e) * 2 + 1, mask=there, other=0.0)
        squares += tl.where(there, tl.fma(away * away, count, within), 0.0)
    inverse = 1.0 / tl.sqrt(tl.sum(squares, axis=0) / total + eps)
    for start in range(0, size, BLOCK):
        c = start + e
        here = tl.program_id(0) * size + c
        factor = tl.zeros((BLOCK,), tl.float32) + inverse
        if weight is not None:
            factor *= tl.load(weight + here, mask=c < size, other=0.0).to(tl.float32)
        offset = -average * factor
        if bias is not None:
            offset += tl.load(bias + here, mask=c < size, other=0.0).to(tl.float32)
        tl.store(scale + first + c, factor, mask=c < size)
        tl.store(shift + first + c, offset, mask=c < size)


@triton.jit
def scale_shift_act(
    x,
    scale,
    shift,
    residual,
    out,
    slope,
    channels,
    voxels,
    window_stride,
    channel_stride,
    voxel_stride,
    VOXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Leaky ReLU of `scale * x + shift + residual`. Programs: (tiles of voxels, tiles of channels, windows)."""
    window = tl.program_id(2).to(tl.int64)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    v = tl.program_id(0) * VOXELS + tl.arange(0, VOXELS)
    mask = (v < voxels)[:, None] & (c < channels)[None, :]
    place = window * window_stride + v[:, None].to(tl.int64) * voxel_stride + c[None, :].to(tl.int64) * channel_stride
    factor = tl.load(scale + window * channels + c, mask=c < channels, other=0.0)
    offset = tl.load(shift + window * channels + c, mask=c < channels, other=0.0)
    y = tl.fma(tl.load(x + place, mask=mask, other=0.0).to(tl.float32), factor[None, :], offset[None, :])
    if residual is not None:
        y += tl.load(residual + place, mask=mask, other=0.0).to(tl.float32)
    y = tl.where(y < 0.0, y * slope, y)
    tl.store(out + place, y.to(out.dtype.element_ty), mask=mask)


def launch_scale_shift(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, groups: int, eps: float, scale: Tensor, shift: Tensor
) -> None:
    """Scale and shift, float32 [N, C], that group norm of x [N, C, D, H, W] amounts to."""
    if not x.numel():
        return
    x = x.flatten(2)
    n, channels, voxels = x.shape
    tile = _tile(x)
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


def launch_norm_act(
    x: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None, slope: float, out: Tensor
) -> None:
    """`out` of the same shape and strides as x and residual [N, C, D, H, W]."""
    if not x.numel():
        return
    flat = x.flatten(2)
    n, channels, voxels = flat.shape
    tile = _tile(flat)
    grid = (triton.cdiv(voxels, tile["VOXELS"]), triton.cdiv(channels, tile["CHANNELS"]), n)
    sizes = (channels, voxels, *flat.stride())
    with on_device_of(x):
        scale_shift_act[grid](x, scale, shift, residual, out, slope, *sizes, **tile, num_warps=4, enable_fp_fusion=True)


def _tile(x: Tensor) -> dict[str, int]:
    """Voxels and channels of a tile of [N, C, voxels]: along what is contiguous, without padding common widths."""
    channels = x.shape[1]
    if x.stride(1) != 1 or channels == 1:
        return {"VOXELS": TILE, "CHANNELS": 1}
    divisor = min(channels & -channels, 64)
    if divisor >= 16:
        return {"VOXELS": TILE // divisor, "CHANNELS": divisor}
    width = min(triton.next_power_of_2(channels), 64)
    return {"VOXELS": TILE // 2 // width, "CHANNELS": width}  # each channel masked: a whole tile would spill
