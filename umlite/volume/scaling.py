"""Stored numbers to HU, slab by slab: whole numbers stay int16, at half the memory of float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

_SLAB_VOXELS = 1 << 22
_INT16 = np.iinfo(np.int16)

Ends = tuple[float, float]
"""Least and greatest of some values."""


def to_hu(
    raw: np.ndarray, slope: float, inter: float, *, in_place: bool = False, ends: Ends | None = None
) -> np.ndarray:
    """raw * slope + inter in the memory order of `raw`: int16 where that is exact, else float32, rounded once.

    raw: integers or floats. It becomes int16 where these are integers, slope and inter are whole and all results fit.
    in_place: `raw` may be changed and its memory kept. Without, `raw` itself is returned only where it is HU already.
    ends: least and greatest number of the whole that `raw` is a part of; its own by default.
    """
    plain = slope == 1 and inter == 0
    if hu_dtype(raw.dtype, slope, inter, lambda: ends or range_of(raw)) == np.int16:
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


def range_of(values: np.ndarray) -> Ends:
    """Least and greatest value; not finite where any voxel is not, since NaN spreads through both."""
    parts = [(values[part].min(), values[part].max()) for part in _slabs(values)]
    return float(np.min([low for low, _ in parts])), float(np.max([high for _, high in parts]))


def hu_dtype(stored: np.dtype, slope: float, inter: float, ends: Callable[[], Ends]) -> np.dtype:
    """What `to_hu` makes of numbers of type `stored`. ends: their least and greatest, asked for where they matter."""
    whole, single = np.dtype(np.int16), np.dtype(np.float32)
    if stored.kind not in "iu" or not float(slope).is_integer() or not float(inter).is_integer():
        return single
    if slope == 1 and inter == 0 and stored.kind == "i" and stored.itemsize <= 2:
        return whole
    scaled = [value * slope + inter for value in ends()]
    return whole if min(scaled) >= _INT16.min and max(scaled) <= _INT16.max else single


def _slabs(array: np.ndarray) -> Iterator[tuple[slice, ...]]:
    """Pieces of a few million voxels, cut across the axis that is slowest in memory."""
    axis = int(np.argmax(np.abs(array.strides)))
    step = max(1, _SLAB_VOXELS * array.shape[axis] // array.size)
    for start in range(0, array.shape[axis], step):
        yield (slice(None),) * axis + (slice(start, start + step),)
