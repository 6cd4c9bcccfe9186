"""Voxels that two classes share, counted while masks are read."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from umlite.masks.bitmask import BitMask


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
        self._shared: Counter[int] = Counter()

    def add(self, masks: BitMask) -> None:
        """Count the next planes."""
        bits = masks.bits
        shared = bits[(bits & (bits - bits.dtype.type(1))) != 0]
        found, counts = np.unique(shared, return_counts=True)
        self._shared.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))

    def result(self, class_voxels: Mapping[str, int], voxel_ml: float) -> tuple[Overlap, ...]:
        """Pairs that share voxels.

        Args:
            class_voxels: number of voxels of each class.
            voxel_ml: volume of a voxel.
        """
        pairs: Counter[tuple[int, int]] = Counter()
        for bits, count in self._shared.items():
            held = [k for k in range(len(self._names)) if bits >> k & 1]
            for pair in itertools.combinations(held, 2):
                pairs[pair] += count
        found = []
        for (first, second), voxels in sorted(pairs.items()):
            names = (self._names[first], self._names[second])
            smaller = min(class_voxels[name] for name in names)
            found.append(Overlap(names, voxels, voxels * voxel_ml, voxels / smaller))
        return tuple(found)
