"""Stored numbers to HU, slab by slab: whole numbers stay int16, at half the memory of float32."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_SLAB_VOXELS = 1 << 22
_INT16 = np.iinfo(np.int16)


def to_hu(raw: np.ndarray, slope: float, inter: float, *, in_place: bool = False) -> np.ndarray:
    """raw * slope + inter in the memory order of `raw`: int16 where that is exact, else float32, rounded once.

    raw: integers or floats. It becomes int16 where these are integers, slope and inter are whole and all results fit.
    in_place: `raw` may be changed and its memory kept. Without, `raw` itself is returned only where it is HU already.
    """
    plain = slope == 1 and inter == 0
    if _is_whole(raw, slope, inter):
        if plain and raw.dtype == np.int16:
            return raw
        keep = in_place and raw.dtype.itemsize == 2
        hu = raw.view(np.int16) if keep else np.empty_like(raw, dtype=np.int16, subok=False)
        for part in _slabs(raw):
            hu[part] = raw[part].astype(np.int64) * int(slope) + int(inter)
        return hu
    if plain:
        with np.errstate(over="ignore"):
            return raw.astype(np.float32, order="K", copy=False)
    hu = np.empty_like(raw, dtype=np.float32, subok=False)
    for part in _slabs(raw):
        with np.errstate(over="ignore", invalid="ignore"):
            hu[part] = raw[part].astype(np.float64) * slope + inter
    return hu


def range_of(values: np.ndarray) -> tuple[float, float]:
    """Least and greatest value; not finite where any voxel is not, since NaN spreads through both."""
    parts = [(values[part].min(), values[part].max()) for part in _slabs(values)]
    return float(np.min([low for low, _ in parts])), float(np.max([high for _, high in parts]))


def _is_whole(raw: np.ndarray, slope: float, inter: float) -> bool:
    """Whether raw * slope + inter is an int16 everywhere."""
    if raw.dtype.kind not in "iu" or not float(slope).is_integer() or not float(inter).is_integer():
        return False
    if slope == 1 and inter == 0 and raw.dtype.kind == "i" and raw.dtype.itemsize <= 2:
        return True
    ends = [value * slope + inter for value in range_of(raw)]
    return min(ends) >= _INT16.min and max(ends) <= _INT16.max


def _slabs(array: np.ndarray) -> Iterator[tuple[slice, ...]]:
    """Pieces of a few million voxels, cut across the axis that is slowest in memory."""
    axis = int(np.argmax(np.abs(array.strides)))
    step = max(1, _SLAB_VOXELS * array.shape[axis] // array.size)
    for start in range(0, array.shape[axis], step):
        yield (slice(None),) * axis + (slice(start, start + step),)
