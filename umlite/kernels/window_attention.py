"""Shifted-window attention over a 3-D token grid (Swin, arXiv 2103.14030; MONAI's SwinUNETR, `use_v2=False`).

One call takes the unpadded grid of queries, keys and values and gives the attended values on the same grid: padding,
roll, partition and their inverses are inside.
"""

from __future__ import annotations

import functools
import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from umlite.kernels.triton import require

Size = tuple[int, int, int]
MASKED = -100.0  # the published value between regions that only the roll brought together


def window_attention_ref(qkv: Tensor, padding: Tensor, table: Tensor, heads: int, window: int, shift: int) -> Tensor:
    """Plain torch, step by step.

    qkv: [N, D, H, W, 3*C], queries, keys and values of every token, heads within each.
    padding: [3*C], the same of a padded token (the bias of the qkv layer, since padded tokens are zeros before it).
    table: [(2*window-1)**3, heads], relative position bias.
    shift: 0, or how far the grid is rolled before it is cut into windows.
    Returns [N, D, H, W, C]. A grid axis not longer than the window is one window, not shifted.
    """
    n, *grid, channels = qkv.shape
    sides, shifts = _fit(tuple(grid), window, shift)
    x = _pad(qkv, padding, sides)
    padded = tuple(x.shape[1:4])
    x = torch.roll(x, [-s for s in shifts], dims=(1, 2, 3))
    x = _partition(x, sides)  # [N, windows, S, 3*C]
    tokens = x.shape[2]
    q, k, v = x.reshape(n, -1, tokens, 3, heads, channels // (3 * heads)).permute(3, 0, 1, 4, 2, 5)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # [N, windows, heads, S, S]
    scores = scores + _bias(table, tokens, window)
    if any(shifts):
        scores = scores + _shift_mask(padded, sides, shifts, x.device)[:, None].to(scores)
    y = (scores.softmax(dim=-1) @ v).transpose(2, 3).reshape(n, -1, tokens, channels // 3)
    y = torch.roll(_reverse(y, padded, sides), shifts, dims=(1, 2, 3))
    return y[:, : grid[0], : grid[1], : grid[2]].contiguous()


def window_attention_torch(qkv: Tensor, padding: Tensor, table: Tensor, heads: int, window: int, shift: int) -> Tensor:
    """The same by `scaled_dot_product_attention`, without a [windows, heads, S, S] tensor, on any device.

    Windows fall into at most eight groups that share a shift mask (last along each axis, or not), one call each.
    """
    n, *grid, channels = qkv.shape
    sides, shifts = _fit(tuple(grid), window, shift)
    x = _pad(qkv, padding, sides)
    padded = tuple(x.shape[1:4])
    if any(shifts):
        x = torch.roll(x, [-s for s in shifts], dims=(1, 2, 3))
    x = _partition(x, sides)
    tokens = x.shape[2]
    bias = _bias(table, tokens, window)
    counts = tuple(p // s for p, s in zip(padded, sides, strict=True))
    q, k, v = x.view(n, *counts, tokens, 3, heads, channels // (3 * heads)).permute(5, 0, 1, 2, 3, 6, 4, 7)
    y = torch.empty(n, *counts, tokens, heads, channels // (3 * heads), dtype=qkv.dtype, device=qkv.device)
    axes = [[(slice(None, -1), 0), (slice(-1, None), 1)] if s else [(slice(None), 0)] for s in shifts]
    for group in itertools.product(*axes):
        part = (slice(None), *(where for where, _ in group))
        if 0 in q[part].shape:
            continue
        mask = bias
        if any(last for _, last in group):
            cut = tuple(s if last else 0 for s, (_, last) in zip(shifts, group, strict=True))
            mask = bias + _window_mask(sides, cut).to(bias)
        query, key, value = (t[part].reshape(-1, heads, tokens, t.shape[-1]) for t in (q, k, v))
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[None])
        y[part] = attended.transpose(1, 2).reshape(y[part].shape)
    y = _reverse(y.reshape(n, -1, tokens, channels // 3), padded, sides)
    if any(shifts):
        y = torch.roll(y, shifts, dims=(1, 2, 3))
    return y[:, : grid[0], : grid[1], : grid[2]].contiguous()


window_attention = torch.library.custom_op("umlite::window_attention", window_attention_torch, mutates_args=())
"""The same; on a GPU one Triton kernel (float32, float16 or bfloat16; float32 products and sums inside).

One node for torch.compile. Raises DeviceError on a GPU without Triton.
"""


@window_attention.register_kernel("cuda")
def _(qkv: Tensor, padding: Tensor, table: Tensor, heads: int, window: int, shift: int) -> Tensor:
    require()
    from umlite.kernels.triton.window_attention import launch_window_attention

    n, *grid, channels = qkv.shape
    out = qkv.new_empty(n, *grid, channels // 3)
    launch_window_attention(qkv, padding, table, out, heads, window, *_fit(tuple(grid), window, shift))
    return out


@window_attention.register_fake
def _(qkv: Tensor, padding: Tensor, table: Tensor, heads: int, window: int, shift: int) -> Tensor:  # noqa: ARG001
    return qkv.new_empty(*qkv.shape[:4], qkv.shape[4] // 3)


@functools.lru_cache(maxsize=64)
def relative_position_index(window: int) -> Tensor:
    """Row of the bias table for each (query, key) pair of a window: [window**3, window**3] int64."""
    axis = torch.arange(window, device="cpu")  # kept, so it must not follow a context of another device
    place = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).flatten(1)
    offset = place[:, :, None] - place[:, None, :] + window - 1
    side = 2 * window - 1
    return (offset[0] * side + offset[1]) * side + offset[2]


def _fit(grid: tuple[int, ...], window: int, shift: int) -> tuple[Size, Size]:
    """Window and shift per axis: an axis that one window covers is one window, not shifted."""
    sides = tuple(min(size, window) for size in grid)
    shifts = tuple(0 if size <= window else shift for size in grid)
    return sides, shifts  # type: ignore[return-value]


def _pad(x: Tensor, value: Tensor, sides: Size) -> Tensor:
    """Pad the end of each grid axis with `value` up to a multiple of the window."""
    missing = [-size % side for size, side in zip(x.shape[1:4], sides, strict=True)]
    if not any(missing):
        return x
    n, d, h, w, channels = x.shape
    padded = value.expand(n, d + missing[0], h + missing[1], w + missing[2], channels).clone()
    padded[:, :d, :h, :w] = x
    return padded


def _partition(x: Tensor, sides: Size) -> Tensor:
    """[N, D, H, W, C] -> [N, windows, tokens, C], windows and tokens in D, H, W order."""
    n, d, h, w, c = x.shape
    x = x.view(n, d // sides[0], sides[0], h // sides[1], sides[1], w // sides[2], sides[2], c)
    return x.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(n, -1, sides[0] * sides[1] * sides[2], c)


def _reverse(x: Tensor, padded: tuple[int, ...], sides: Size) -> Tensor:
    """Inverse of `_partition`."""
    counts = [p // s for p, s in zip(padded, sides, strict=True)]
    x = x.view(x.shape[0], *counts, *sides, x.shape[-1]).permute(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(x.shape[0], *padded, x.shape[-1])


def _bias(table: Tensor, tokens: int, window: int) -> Tensor:
    """Relative position bias [heads, tokens, tokens].

    A smaller window takes the first tokens x tokens entries of the full window's index, as published.
    """
    index = relative_position_index(window).to(table.device)[:tokens, :tokens]
    return table[index.reshape(-1)].view(tokens, tokens, -1).permute(2, 0, 1).contiguous()


def _shift_mask(padded: tuple[int, ...], sides: Size, shifts: Size, device: torch.device) -> Tensor:
    """[windows, S, S]: 0 within a region of the rolled, padded grid, MASKED between regions."""
    region = torch.zeros(padded, device=device)
    for axis, (size, side, shift) in enumerate(zip(padded, sides, shifts, strict=True)):
        if shift:
            place = torch.arange(size, device=device)
            label = (place >= size - side).float() + (place >= size - shift).float()
            region += 3**axis * label.view([-1 if a == axis else 1 for a in range(3)])
    region = _partition(region[None, ..., None], sides)[0, :, :, 0]
    return torch.where(region[:, None, :] == region[:, :, None], 0.0, MASKED)


@functools.lru_cache(maxsize=64)
def _window_mask(sides: Size, cut: Size) -> Tensor:
    """[S, S] mask of one window, cut along each axis `cut` tokens before its end (0: not cut)."""
    region = torch.zeros(sides, device="cpu")
    for axis, (side, last) in enumerate(zip(sides, cut, strict=True)):
        label = (torch.arange(side, device="cpu") >= side - last).float()
        region += 2**axis * label.view([-1 if a == axis else 1 for a in range(3)])
    region = region.flatten()
    return torch.where(region[None, :] == region[:, None], 0.0, MASKED)
