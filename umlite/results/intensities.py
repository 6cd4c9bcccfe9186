"""Intensities of a class, counted in bins as they are read: moments and percentiles without all voxels in memory."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from umlite.volume.voxels import Ends

_FLOAT_BINS = 1 << 16
_MOST_HU = 1 << 14
PERCENTILES = (5, 50, 95)


@dataclass(frozen=True)
class Intensities:
    """HU of the voxels of one class.

    Args:
        mean, minimum, maximum: exact.
        sd: standard deviation of a sample (n - 1); 0 for a single voxel.
        p5, median, p95: percentiles, interpolated linearly as by numpy; exact if the scan holds whole numbers.
    """

    mean: float
    sd: float
    minimum: float
    p5: float
    median: float
    p95: float
    maximum: float

    def to_dict(self) -> dict[str, float]:
        """Ready for JSON, rounded to 0.001 HU."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


class Histogram:
    """Counts of one class's HU.

    Each whole number has its own bin. Other HU fall into 65,536 bins over the scan's range (at most 16,384 HU from 0),
    so percentiles are exact to one bin: 0.06 HU for a scan that covers 4096 HU.

    Args:
        ends: smallest and largest HU of the scan.
        whole: whether all HU are whole numbers.
    """

    def __init__(self, ends: Ends, whole: bool) -> None:
        self._whole = whole
        if whole:
            self._low, self._width, bins = ends[0], 1.0, int(ends[1] - ends[0]) + 1
        else:
            self._low = max(ends[0], -float(_MOST_HU))
            self._width = max(min(ends[1], float(_MOST_HU)) - self._low, 1e-6) / _FLOAT_BINS
            bins = _FLOAT_BINS
        self._counts = np.zeros(bins, np.int64)
        self._ends = (np.inf, -np.inf)
        self._sum = self._squares = 0.0  # of the difference to the scan's lowest HU, which keeps digits

    def add(self, hu: npt.NDArray[np.int16] | npt.NDArray[np.float32]) -> None:
        """Count some voxels, at least one."""
        low, high = hu.min(), hu.max()
        self._ends = min(self._ends[0], float(low)), max(self._ends[1], float(high))
        if self._whole:
            first = int(low) - int(self._low)
            counts = np.bincount(np.subtract(hu, low, dtype=np.int32).astype(np.intp))
        else:
            above = hu.astype(np.float64) - self._low
            self._sum += float(above.sum())
            self._squares += float(above @ above)
            places = np.clip(above / self._width, 0, len(self._counts) - 1).astype(np.int32)
            first = int(places.min())
            counts = np.bincount(places - first)
        self._counts[first : first + len(counts)] += counts

    def result(self) -> Intensities | None:
        """The intensities; None if nothing was counted."""
        count = int(self._counts.sum())
        if not count:
            return None
        total, squares = self._sum, self._squares
        if self._whole:  # exact, from the bins
            values = np.arange(len(self._counts), dtype=np.float64)
            total, squares = float(values @ self._counts), float(values * values @ self._counts)
        mean = total / count
        variance = max(squares - count * mean * mean, 0.0) / max(count - 1, 1)
        low, high = self._ends
        p5, median, p95 = (float(np.clip(self._percentile(p, count), low, high)) for p in PERCENTILES)
        return Intensities(mean + self._low, variance**0.5, low, p5, median, p95, high)

    def _percentile(self, percent: float, count: int) -> float:
        rank = percent / 100 * (count - 1)
        cumulated = np.cumsum(self._counts)
        below, above = np.searchsorted(cumulated, [int(rank), min(int(rank) + 1, count - 1)], side="right")
        middle = 0.0 if self._whole else 0.5
        values = [self._low + (place + middle) * self._width for place in (int(below), int(above))]
        return values[0] + (values[1] - values[0]) * (rank - int(rank))
