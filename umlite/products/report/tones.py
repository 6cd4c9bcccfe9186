"""Tones: HU in the 8 bits of a picture, with fine steps in soft tissue and coarse ones outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from umlite.volume.values import Ends

KNOTS = ((-1024.0, 0.0), (-200.0, 44.0), (300.0, 216.0), (1000.0, 241.0), (3071.0, 255.0))
"""(HU, tone): 2.9 HU a step in soft tissue, 19 in lungs, 28 in bone, 148 in metal."""
_NARROW_HU = 256.0
_FIRST = -(1 << 15)


@dataclass(frozen=True)
class Tones:
    """A scale from HU to 8 bits, linear between knots.

    Args:
        knots: (HU, tone) in rising order, from tone 0 to tone 255.
    """

    knots: tuple[tuple[float, float], ...] = KNOTS

    @classmethod
    def covering(cls, ends: Ends) -> Tones:
        """The scale for a scan from its least to its greatest HU: `KNOTS`, or linear where so few HU need no more."""
        low, high = ends
        if high - low >= _NARROW_HU:
            return cls()
        return cls(((low, 0.0), (high if high > low else low + 1, 255.0)))

    def of(self, hu: npt.NDArray[np.int16] | npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """The nearest tone of every voxel, in the same shape."""
        if hu.dtype == np.int16:
            table = self._nearest(np.arange(_FIRST, -_FIRST, dtype=np.float64))
            return table[hu.astype(np.int32) - _FIRST]
        return self._nearest(hu)

    def _nearest(self, hu: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        at, tones = zip(*self.knots, strict=True)
        return np.rint(np.interp(hu, at, tones)).astype(np.uint8)
