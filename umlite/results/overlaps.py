"""Voxels that two classes share, counted while masks are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from umlite.masks.bitmask import BitMask
from umlite.masks.class_sets import count_sets

_SETS_AT_ONCE = 1 << 13


@dataclass(frozen=True)
class Overlap:
    """Two classes that share voxels.

    Args:
        classes: their canonical names, in the order of the request.
        voxels, volume_ml: what they share.
        share: of the smaller one's voxels.
    """

    classes: tuple[str, str]
    voxels: int
    volume_ml: float
    share: float

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "classes": list(self.classes),
            "voxels": self.voxels,
            "volume_ml": round(self.volume_ml, 4),
            "share": round(self.share, 4),
        }


class OverlapTally:
    """Counts voxels of two classes or more by their bits: most masks hardly overlap, so these are few.

    Args:
        names: class names in the order of the bits.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._pairs = np.zeros((len(self._names), len(self._names)), np.int64)

    def add(self, masks: BitMask) -> None:
        """Count the next planes."""
        held, counts = count_sets(masks, masks.shared())
        for first in range(0, len(counts), _SETS_AT_ONCE):
            some = slice(first, first + _SETS_AT_ONCE)
            sets = held[some].astype(np.float64)  # whose products are quick, and exact for numbers of voxels
            self._pairs += np.rint((sets.T * counts[some]) @ sets).astype(np.int64)

    def result(self, class_voxels: Mapping[str, int], voxel_ml: float) -> tuple[Overlap, ...]:
        """Pairs that share voxels.

        Args:
            class_voxels: number of voxels of each class.
            voxel_ml: volume of a voxel.
        """
        found = []
        for first, second in np.argwhere(np.triu(self._pairs, 1)).tolist():
            names, voxels = (self._names[first], self._names[second]), int(self._pairs[first, second])
            smaller = min(class_voxels[name] for name in names)
            found.append(Overlap(names, voxels, voxels * voxel_ml, voxels / smaller))
        return tuple(found)
