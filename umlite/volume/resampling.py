"""Sampling a volume at the voxels of another grid: linear for intensities, nearest for labels and bit masks.

A map is separable when each source axis depends on one target axis only, which orthogonal affines always give. Then
every axis is sampled by itself, slab by slab, and no intermediate volume exists. Sheared affines go the general way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

_SLAB_VOXELS = 1 << 20
_SEPARABLE_TOL_VOXELS = 1e-4
_ON_GRID_TOL_VOXELS = 1e-7
_TIE_TOL_VOXELS = 1e-6

Shape = tuple[int, int, int]
Box = tuple[slice, slice, slice]


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
    turned = volume.permute(order)
    return _linear_separable(
        lambda low, stop: turned[low:stop].float(), turned.shape, [clipped[axis] for axis in order], volume.device
    ).permute(back)


def resample_linear_planes(
    pieces: Iterator[torch.Tensor], source_shape: Shape, order: Sequence[int], to_source: np.ndarray, shape: Shape
) -> torch.Tensor | None:
    """As `resample_linear`, of a volume that comes a few planes at a time; None where its axes mix.

    pieces: float32 or int16 [n, Y, X] on the CPU, in their order along the first axis; read to the end.
    source_shape: of the whole volume, before its axes were put in `order`, as those of the pieces are.
    Returns float32 of `shape`, equal to the last bit to what `resample_linear` gives; None leaves `pieces` as they are.
    """
    positions = axis_positions(to_source, shape)
    if positions is None:
        return None
    clipped = [np.clip(positions[axis], 0.0, source_shape[axis] - 1.0) for axis in order]
    stream = _Stream(pieces)
    extents = [source_shape[axis] for axis in order]
    out = _linear_separable(stream.planes, extents, clipped, torch.device("cpu"))
    stream.finish()
    return out.permute([order.index(axis) for axis in range(3)])


def resample_nearest(
    labels: np.ndarray, to_source: np.ndarray, shape: Shape, source_shape: Shape, start: Shape, box: Box | None = None
) -> np.ndarray:
    """`labels` at the voxels of another grid, nearest neighbour.

    labels: any integer type or bool, [X, Y, Z]; the part from index `start` on of a source of `source_shape` that is
        0 elsewhere. Outside the source its nearest border voxel counts.
    to_source: float64 [4, 4], target index -> index of the whole source.
    shape: of the target. box: the part of it to give, all by default.
    Returns the same dtype, of `shape`, in Fortran order (x fastest, as NIfTI stores it). Half way between two voxels
    the higher index wins, for positions within 1e-6 of half way too: rounding noise never decides. A part is equal to
    that part of the whole.
    """
    targets = [np.arange(n)[part] for n, part in zip(shape, box or (slice(None),) * 3, strict=True)]
    positions = axis_positions(to_source, shape)
    if positions is None:
        result = _nearest_general(labels, to_source, targets, source_shape, start)
    else:
        indices = [
            np.clip(_nearest_index(p[target]), 0, n - 1) - s
            for p, target, n, s in zip(positions, targets, source_shape, start, strict=True)
        ]
        result = _nearest_separable(labels, indices)
    return result.transpose(2, 1, 0)


def nearest_indices(places: np.ndarray, to_source: np.ndarray, shape: Shape, source_shape: Shape) -> np.ndarray:
    """Indices of the source, int64 [n, 3], that `resample_nearest` reads for these of the target, [n, 3]."""
    positions = axis_positions(to_source, shape)
    if positions is None:
        x, y, z = places.T.astype(np.float64)
        found = [
            (along_y * y + along_x * x) + (along_z * z + start) for along_x, along_y, along_z, start in to_source[:3]
        ]
    else:
        found = [position[along] for position, along in zip(positions, places.T, strict=True)]
    return np.stack([np.clip(_nearest_index(p), 0, n - 1) for p, n in zip(found, source_shape, strict=True)], 1)


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


class _Stream:
    """Planes of a volume that comes piece by piece and is read forward only."""

    def __init__(self, pieces: Iterator[torch.Tensor]) -> None:
        self._source, self._pieces = pieces, list[torch.Tensor]()
        self._first = self._stop = 0  # of the planes in `_pieces`

    def planes(self, low: int, stop: int) -> torch.Tensor:
        """Planes `low` to `stop` as float32; those before `low` are forgotten."""
        self._forget(low)
        while self._stop < stop:
            self._pieces.append(next(self._source))
            self._stop += len(self._pieces[-1])
            self._forget(low)
        found, first = [], self._first
        for piece in self._pieces:
            found.append(piece[max(low - first, 0) : max(stop - first, 0)].float())
            first += len(piece)
        return torch.cat(found)

    def _forget(self, low: int) -> None:
        while self._pieces and self._first + len(self._pieces[0]) <= low:
            self._first += len(self._pieces.pop(0))

    def finish(self) -> None:
        """Read what nobody asked for, so that its errors are not missed."""
        for _ in self._source:
            pass


def _linear_separable(
    planes: Callable[[int, int], torch.Tensor],
    source_shape: Sequence[int],
    positions: list[np.ndarray],
    device: torch.device,
) -> torch.Tensor:
    """planes: gives planes first to stop of the source as float32; asked for in rising order."""
    shape = [len(p) for p in positions]
    out = torch.empty(shape, dtype=torch.float32, device=device)
    cheapest_first = sorted(range(3), key=lambda axis: shape[axis] / source_shape[axis])
    plane = max(source_shape[0] / shape[0], 1.0) * source_shape[1] * source_shape[2]
    slabs = list(_slabs(shape[0], max(plane, shape[1] * shape[2])))
    for start, stop in slabs if positions[0][0] <= positions[0][-1] else reversed(slabs):
        needed = positions[0][start:stop]
        low, high = int(np.floor(needed.min())), int(np.ceil(needed.max()))
        slab = planes(low, high + 1)
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


def _nearest_separable(labels: np.ndarray, indices: list[np.ndarray]) -> np.ndarray:
    """Labels [X, Y, Z] at an index an axis, 0 where an index is outside. Returns [Z', Y', X'], contiguous."""
    out = np.zeros([len(index) for index in reversed(indices)], dtype=labels.dtype)
    inside = [np.flatnonzero((index >= 0) & (index < n)) for index, n in zip(indices, labels.shape, strict=True)]
    if any(len(covered) == 0 for covered in inside):
        return out
    box = [slice(int(covered[0]), int(covered[-1]) + 1) for covered in inside]
    reached = [index[part] for index, part in zip(indices, box, strict=True)]
    labels = labels[tuple(slice(int(index.min()), int(index.max()) + 1) for index in reached)]
    x, y, z = (index - index.min() for index in reached)
    target = out[box[2], box[1], box[0]]
    for start, stop in _slabs(len(z), len(x) * len(y)):
        sources, row = np.unique(z[start:stop], return_inverse=True)
        thin = np.ascontiguousarray(labels[:, :, sources].transpose(2, 1, 0))
        target[start:stop] = thin.take(y, axis=1).take(x, axis=2).take(row, axis=0)
    return out


def _nearest_general(
    labels: np.ndarray, to_source: np.ndarray, targets: list[np.ndarray], source_shape: Shape, start: Shape
) -> np.ndarray:
    """Labels [X, Y, Z] through any map, 0 outside. targets: indices an axis. Returns [Z', Y', X'], contiguous."""
    x, y, z = (target.astype(np.float64) for target in targets)
    out = np.zeros((len(z), len(y), len(x)), dtype=labels.dtype)
    for first, stop in _slabs(len(z), 2.0 * len(x) * len(y)):
        flat = np.zeros((stop - first, len(y), len(x)), dtype=np.int64)
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
