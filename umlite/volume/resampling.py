"""Sampling a volume at the voxels of another grid: linear for intensities, nearest for labels and bit masks.

A map is separable when each source axis depends on one target axis only, which orthogonal affines always give. Then
every axis is sampled by itself, slab by slab, and no intermediate volume exists. Sheared affines go the general way.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

_SLAB_VOXELS = 1 << 20
_SEPARABLE_TOL_VOXELS = 1e-4
_ON_GRID_TOL_VOXELS = 1e-7
_TIE_TOL_VOXELS = 1e-6

Shape = tuple[int, int, int]


def resample_linear(volume: torch.Tensor, to_source: np.ndarray, shape: Shape) -> torch.Tensor:
    """`volume` at the voxels of another grid, trilinear; outside, the nearest border voxel counts.

    volume: float32 or int16 [X, Y, Z], any strides, any device; int16 is converted slab by slab.
    to_source: float64 [4, 4], target index -> index of `volume`.
    shape: of the target.
    Returns float32 of `shape`, on the same device, in the memory order of `volume`; possibly `volume` itself.
    """
    positions = axis_positions(to_source, shape)
    if positions is None:
        return _linear_general(volume, to_source, shape)
    clipped = [np.clip(p, 0.0, n - 1.0) for p, n in zip(positions, volume.shape, strict=True)]
    if tuple(volume.shape) == shape and all(_is_identity(p) for p in clipped):
        return volume.float()
    order = _memory_order(volume)
    back = [order.index(axis) for axis in range(3)]
    return _linear_separable(volume.permute(order), [clipped[axis] for axis in order]).permute(back)


def resample_nearest(
    labels: np.ndarray, to_source: np.ndarray, shape: Shape, source_shape: Shape, start: Shape
) -> np.ndarray:
    """`labels` at the voxels of another grid, nearest neighbour.

    labels: any integer type or bool, [X, Y, Z]; the part from index `start` on of a source of `source_shape` that is
        0 elsewhere. Outside the source its nearest border voxel counts.
    to_source: float64 [4, 4], target index -> index of the whole source.
    shape: of the target.
    Returns the same dtype, of `shape`, in Fortran order (x fastest, as NIfTI stores it). Half way between two voxels
    the higher index wins, for positions within 1e-6 of half way too: rounding noise never decides.
    """
    positions = axis_positions(to_source, shape)
    if positions is None:
        result = _nearest_general(labels, to_source, shape, source_shape, start)
    else:
        indices = [
            np.clip(_nearest_index(p), 0, n - 1) - s for p, n, s in zip(positions, source_shape, start, strict=True)
        ]
        result = _nearest_separable(labels, indices, shape)
    return result.transpose(2, 1, 0)


def tensor_of(array: np.ndarray) -> torch.Tensor:
    """`array` as a tensor on the same memory; a copy only where torch needs one (read-only, reversed axes)."""
    usable = array.flags.writeable and all(step >= 0 for step in array.strides)
    return torch.from_numpy(array if usable else array.copy(order="K"))


def axis_positions(to_source: np.ndarray, shape: Shape) -> list[np.ndarray] | None:
    """Source index per target index, one float64 array an axis; None where the axes mix by 1e-4 voxels or more.

    An affine that was stored as float32 mixes them by up to 5e-5 voxels: at 1000 HU a voxel that is 0.05 HU, a tenth
    of what rounding to whole HU does.
    """
    linear, offset = to_source[:3, :3], to_source[:3, 3].copy()
    scale = np.diag(linear)
    last = np.array(shape, dtype=np.float64) - 1
    mixed = linear - np.diag(scale)
    if (np.abs(mixed) @ last).max() >= _SEPARABLE_TOL_VOXELS:
        return None
    offset += mixed @ last / 2
    return [scale[axis] * np.arange(shape[axis], dtype=np.float64) + offset[axis] for axis in range(3)]


def _nearest_index(position: np.ndarray) -> np.ndarray:
    return np.floor(position + (0.5 + _TIE_TOL_VOXELS)).astype(np.int64)


def _is_identity(position: np.ndarray) -> bool:
    return bool(np.abs(position - np.arange(len(position))).max() < _ON_GRID_TOL_VOXELS)


def _memory_order(volume: torch.Tensor) -> list[int]:
    return sorted(range(3), key=volume.stride, reverse=True)


def _slabs(count: int, voxels_each: float) -> Iterator[tuple[int, int]]:
    step = max(1, int(_SLAB_VOXELS / max(voxels_each, 1.0)))
    for start in range(0, count, step):
        yield start, min(start + step, count)


def _linear_separable(volume: torch.Tensor, positions: list[np.ndarray]) -> torch.Tensor:
    shape = [len(p) for p in positions]
    out = torch.empty(shape, dtype=torch.float32, device=volume.device)
    cheapest_first = sorted(range(3), key=lambda axis: shape[axis] / volume.shape[axis])
    plane = max(volume.shape[0] / shape[0], 1.0) * volume.shape[1] * volume.shape[2]
    for start, stop in _slabs(shape[0], max(plane, shape[1] * shape[2])):
        needed = positions[0][start:stop]
        low, high = int(np.floor(needed.min())), int(np.ceil(needed.max()))
        slab = volume[low : high + 1].float()
        for axis in cheapest_first:
            slab = _linear_axis(slab, axis, needed - low if axis == 0 else positions[axis])
        out[start:stop] = slab
    return out


def _linear_axis(volume: torch.Tensor, axis: int, position: np.ndarray) -> torch.Tensor:
    """`volume` sampled along one axis at float64 positions within it; weights are float32."""
    below = np.floor(position + _ON_GRID_TOL_VOXELS)
    weight = np.maximum(position - below, 0.0)
    lower = torch.from_numpy(below.astype(np.int64)).to(volume.device)
    if weight.max() < _ON_GRID_TOL_VOXELS:
        same = len(position) == volume.shape[axis] and _is_identity(position)
        return volume if same else _pick(volume, axis, lower)
    upper = (lower + 1).clamp_(max=volume.shape[axis] - 1)
    column = torch.from_numpy(weight.astype(np.float32)).to(volume.device)
    column = column.reshape([-1 if a == axis else 1 for a in range(3)])
    return _pick(volume, axis, lower).lerp_(_pick(volume, axis, upper), column)


def _pick(volume: torch.Tensor, axis: int, index: torch.Tensor) -> torch.Tensor:
    # index_select copies whole rows fast but single voxels of the last axis 2.5 times slower than indexing does.
    return volume[:, :, index] if axis == 2 else volume.index_select(axis, index)


def _linear_general(volume: torch.Tensor, to_source: np.ndarray, shape: Shape) -> torch.Tensor:
    """Trilinear sampling through any map, in float64 slabs across the axis that needs the least of the source."""
    axis = _slab_axis(to_source, shape, tuple(volume.shape))
    order = [axis, *(a for a in range(3) if a != axis)]
    turned = to_source.copy()
    turned[:, :3] = to_source[:, order]
    extents = [shape[a] for a in order]
    out = torch.empty(extents, dtype=torch.float32, device=volume.device)
    last = torch.tensor([n - 1.0 for n in volume.shape], dtype=torch.float64, device=volume.device)
    for start, stop in _slabs(extents[0], 0.5 * extents[1] * extents[2]):
        position = _slab_positions(turned, (start, stop), extents, volume.device)
        position = torch.minimum(position.clamp_(min=0.0), last)
        low = position.amin(dim=(0, 1, 2)).floor().long()
        high = position.amax(dim=(0, 1, 2)).ceil().long()
        block = volume[tuple(slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))].double()
        size = torch.tensor(block.shape, dtype=torch.float64, device=volume.device)
        # grid_sample counts x (the last axis) first, from -1 at the block's first face to 1 at its last.
        where = ((position - low) * 2 + 1).div_(size).sub_(1).flip(-1)
        # One target row a batch entry: on a CPU grid_sample runs only batch entries in parallel.
        out[start:stop] = torch.nn.functional.grid_sample(
            block.expand(stop - start, 1, -1, -1, -1),
            where[:, None],
            mode="bilinear",
            padding_mode="border",
            align_corners=False,
        )[:, 0, 0]
    return out.permute([order.index(a) for a in range(3)])


def _slab_axis(to_source: np.ndarray, shape: Shape, source_shape: tuple[int, ...]) -> int:
    """The target axis whose slices touch the smallest box of the source."""

    def touched(axis: int) -> float:
        others = [a for a in range(3) if a != axis]
        reach = sum(np.abs(to_source[:3, a]) * (shape[a] - 1) for a in others)
        return float(np.prod(np.minimum(reach + 1, source_shape)))

    return min(range(3), key=touched)


def _slab_positions(
    to_source: np.ndarray, rows: tuple[int, int], shape: list[int], device: torch.device
) -> torch.Tensor:
    """Source positions of target rows start..stop of the first axis, float64 [rows, shape[1], shape[2], 3]."""
    linear = torch.from_numpy(to_source[:3].copy()).to(device)
    i = torch.arange(rows[0], rows[1], dtype=torch.float64, device=device)[:, None, None, None]
    j = torch.arange(shape[1], dtype=torch.float64, device=device)[:, None, None]
    k = torch.arange(shape[2], dtype=torch.float64, device=device)[:, None]
    return i * linear[:, 0] + j * linear[:, 1] + (k * linear[:, 2] + linear[:, 3])


def _nearest_separable(labels: np.ndarray, indices: list[np.ndarray], shape: Shape) -> np.ndarray:
    """Labels [X, Y, Z] at an index an axis, 0 where an index is outside. Returns [Z', Y', X'], contiguous."""
    out = np.zeros(shape[::-1], dtype=labels.dtype)
    inside = [np.flatnonzero((index >= 0) & (index < n)) for index, n in zip(indices, labels.shape, strict=True)]
    if any(len(covered) == 0 for covered in inside):
        return out
    box = [slice(int(covered[0]), int(covered[-1]) + 1) for covered in inside]
    x, y, z = (index[part] for index, part in zip(indices, box, strict=True))
    target = out[box[2], box[1], box[0]]
    for start, stop in _slabs(len(z), len(x) * len(y)):
        sources, row = np.unique(z[start:stop], return_inverse=True)
        thin = np.ascontiguousarray(labels[:, :, sources].transpose(2, 1, 0))
        target[start:stop] = thin.take(y, axis=1).take(x, axis=2).take(row, axis=0)
    return out


def _nearest_general(
    labels: np.ndarray, to_source: np.ndarray, shape: Shape, source_shape: Shape, start: Shape
) -> np.ndarray:
    """Labels [X, Y, Z] through any map, 0 outside. Returns [Z', Y', X'], contiguous."""
    extents = list(shape[::-1])
    out = np.zeros(extents, dtype=labels.dtype)
    x, y, z = (np.arange(n, dtype=np.float64) for n in shape)
    for first, stop in _slabs(shape[2], 2.0 * shape[0] * shape[1]):
        flat = np.zeros((stop - first, shape[1], shape[0]), dtype=np.int64)
        inside = np.ones(flat.shape, dtype=bool)
        for axis, (along_x, along_y, along_z, offset) in enumerate(to_source[:3]):
            plane = along_y * y[:, None] + along_x * x
            index = _nearest_index(plane + (along_z * z[first:stop, None, None] + offset))
            index = index.clip(0, source_shape[axis] - 1, out=index)
            index -= start[axis]
            inside &= (index >= 0) & (index < labels.shape[axis])
            flat *= labels.shape[axis]
            flat += index
        out[first:stop][inside] = labels.reshape(-1)[flat[inside]]
    return out
