"""What values a scan holds: its exact ends, and how often each whole HU occurs in an even sample of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from umlite.volume.geometry import Size

SAMPLE_VOXELS = 1 << 18
PART_VOXELS = 1 << 22
COUNTED_HU = _FIRST, _LAST = -4200, 5000
_PAD_SHARE, _PAD_WIDTH, _PAD_GAP, _IN_GAP = 0.01, 20, 200, 1e-3

Ends = tuple[float, float]
"""Least and greatest of some values."""


@dataclass(frozen=True, eq=False)
class Values:
    """The values of a scan.

    low, high: least and greatest, not finite where any voxel is not.
    counts: int64, of the sample by whole HU (rounded down) from -4200 to 5000; what lies beyond counts at the ends.
    """

    low: float
    high: float
    counts: np.ndarray

    def share(self, low: float, high: float) -> float:
        """Share of the sample from `low` to below `high`, in whole HU."""
        first, end = (int(np.clip(v - _FIRST, 0, len(self.counts))) for v in (low, high))
        return float(self.counts[first:end].sum()) / max(int(self.counts.sum()), 1)

    def peak(self, low: int, high: int, width: int) -> float:
        """The largest share of the sample within `width` HU that lie between `low` and `high`."""
        upto = np.cumsum(np.r_[0, self.counts[low - _FIRST : high - _FIRST]])
        return float((upto[width:] - upto[:-width]).max()) / max(int(self.counts.sum()), 1)

    def quantile(self, share: float) -> int:
        """The whole HU that `share` of the sample lies below or at."""
        upto = np.cumsum(self.counts)
        return _FIRST + int(np.searchsorted(upto, max(share * upto[-1], 1)))

    def without_padding(self) -> Values:
        """The same without what is written outside a field of view: a narrow peak at the low end, nothing just above.

        Twice, since two such values occur. Never all of it.
        """
        counts = self.counts
        for _ in range(2):
            found = Values(self.low, self.high, counts)
            end = found.quantile(1e-3) + _PAD_WIDTH
            if not _PAD_SHARE <= found.share(-math.inf, end) <= 0.95 or found.share(end, end + _PAD_GAP) > _IN_GAP:
                return found
            counts = counts.copy()
            counts[: end - _FIRST] = 0
        return Values(self.low, self.high, counts)


class Counter:
    """Counts the values of a scan of `shape` that comes plane by plane, in one pass. slope, inter: to HU."""

    def __init__(self, shape: Size, slope: float = 1.0, inter: float = 0.0) -> None:
        self._slope, self._inter = slope, inter
        self._step = max(1, math.prod(shape) // SAMPLE_VOXELS)
        while math.gcd(self._step, shape[0] * shape[1]) > 1:  # so that no column of voxels is passed over
            self._step -= 1
        self._next, self._lows, self._highs = 0, [math.inf], [-math.inf]
        self.counts = np.zeros(_LAST - _FIRST + 1, dtype=np.int64)

    @property
    def ends(self) -> Ends:
        """Before slope and inter; not finite where any value is not."""
        return float(np.min(self._lows)), float(np.max(self._highs))

    def add(self, planes: np.ndarray) -> None:
        """planes: [X, Y, n] in any memory order."""
        low, high = range_of(planes)
        self._lows.append(low)
        self._highs.append(high)
        if planes.flags.f_contiguous:
            sample = planes.reshape(-1, order="F")[self._next :: self._step]
        else:
            places = np.arange(self._next, planes.size, self._step)
            sample = planes[np.unravel_index(places, planes.shape, order="F")]
        self._next = (self._next - planes.size) % self._step
        with np.errstate(over="ignore", invalid="ignore"):
            hu = np.floor(sample.astype(np.float64) * self._slope + self._inter)
        places = np.clip(np.nan_to_num(hu, nan=_FIRST, posinf=_LAST, neginf=_FIRST), _FIRST, _LAST) - _FIRST
        self.counts += np.bincount(places.astype(np.int64), minlength=len(self.counts))


def range_of(values: np.ndarray) -> Ends:
    """Least and greatest value; not finite where any voxel is not, since NaN spreads through both."""
    parts = [(values[part].min(), values[part].max()) for part in parts_of(values)]
    return float(np.min([low for low, _ in parts])), float(np.max([high for _, high in parts]))


def parts_of(array: np.ndarray) -> Iterator[tuple[slice, ...]]:
    """Pieces of a few million voxels, cut across the axis that is slowest in memory."""
    axis = int(np.argmax(np.abs(array.strides)))
    step = max(1, PART_VOXELS * array.shape[axis] // array.size)
    for start in range(0, array.shape[axis], step):
        yield (slice(None),) * axis + (slice(start, start + step),)
