"""Sliding windows: where they lie and how much each voxel counts, as in MONAI's sliding_window_inference."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from umlite.request import check_overlap

Size = tuple[int, int, int]


def window_starts(size: int, window: int, overlap: float) -> list[int]:
    """First voxels of the windows along an axis of at least `window` voxels. The last window ends at the edge."""
    step = max(int(window * (1 - overlap)), 1)
    starts = list(range(0, size - window, step))
    return [*starts, size - window]


def axis_starts(shape: Size, window: Size, overlap: float) -> tuple[list[int], list[int], list[int]]:
    """First voxels of windows along each axis of a volume not smaller than a window. The grid is their product.

    Raises:
        RequestError: an overlap out of range.
    """
    check_overlap(overlap)
    x, y, z = (window_starts(size, side, overlap) for size, side in zip(shape, window, strict=True))
    return x, y, z


def window_grid(shape: Size, window: Size, overlap: float, axis: int = 0) -> list[Size]:
    """First voxels of all windows in the order in which they run: slowest along `axis`, fastest along the last one.

    Every sweep over a scan keeps this order, so that sums round the same way.

    Raises:
        RequestError: an overlap out of range.
    """
    grid = itertools.product(*axis_starts(shape, window, overlap))
    return sorted(grid, key=lambda start: (start[axis], start))


def count_windows(shape: Size, window: Size, overlap: float) -> int:
    """Number of windows over a volume [X, Y, Z] of any size, which is first padded to a window; 0 if it is empty.

    Raises:
        RequestError: an overlap out of range.
    """
    check_overlap(overlap)
    if not math.prod(shape):
        return 0
    return math.prod(map(len, axis_starts(padded_shape(shape, window), window, overlap)))


def padded_shape(shape: Sequence[int], window: Size) -> Size:
    """Shape of a volume after `pad_to_window`."""
    x, y, z = (max(size, side) for size, side in zip(shape, window, strict=True))
    return x, y, z


def streaming_axis(shape: Size, window: Size) -> int:
    """The axis along which a slab one window thick is the smallest share of the volume; the first in a tie."""
    return max(range(3), key=lambda axis: (shape[axis] / window[axis], -axis))


def window_at(start: Size, window: Size) -> tuple[slice, slice, slice]:
    """Index of a window's voxels."""
    x, y, z = (slice(s, s + side) for s, side in zip(start, window, strict=True))
    return x, y, z


def importance_map(window: Size) -> Tensor:
    """Gaussian weights [x, y, z] float32 of a window's voxels. Sigma is an eighth of a side; none is below 1e-3."""
    weights = torch.ones((), dtype=torch.float32)
    for side in window:
        distance = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
        weights = weights[..., None] * torch.exp(-(distance**2) / (2 * (side / 8) ** 2))
    return weights.clamp_min(1e-3)


def pad_to_window(voxels: Tensor, window: Size) -> tuple[Tensor, tuple[slice, slice, slice]]:
    """Pad a volume [X, Y, Z] with zeros to at least a window, half on each side, an odd voxel at the end.

    Returns:
        The padded volume (`voxels` itself if it is large enough) and the box of the original in it.
    """
    missing = [max(side - size, 0) for size, side in zip(voxels.shape, window, strict=True)]
    before = [m // 2 for m in missing]
    pads = [(b, m - b) for b, m in zip(before, missing, strict=True)]
    inside = tuple(slice(b, b + size) for b, size in zip(before, voxels.shape, strict=True))
    padded = F.pad(voxels, [p for pair in reversed(pads) for p in pair]) if any(missing) else voxels
    return padded, inside  # type: ignore[return-value]


def total_importance(shape: Size, starts: Iterable[Size], importance: Tensor) -> Tensor:
    """Sum of the importance maps of all windows over a volume, [X, Y, Z]."""
    total = torch.zeros(shape, dtype=importance.dtype, device=importance.device)
    for start in starts:
        total[window_at(start, tuple(importance.shape))] += importance  # type: ignore[arg-type]
    return total
