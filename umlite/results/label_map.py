"""Overlapping masks to one label per voxel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from umlite.classes import AnatomyClass
from umlite.inference.bitmask import BitMask

PAINTED = ("organ", "vessel", "tumor")  # later kinds over earlier ones


def paint_label_map(bits: BitMask, classes: Sequence[AnatomyClass]) -> np.ndarray:
    """[X, Y, Z] uint8 (uint16 when an index is over 255): the published index of each voxel's class, 0 elsewhere.

    Where classes overlap, tumours lie over vessels and vessels over organs; within a kind the higher index wins.
    """
    largest = max((c.index for c in classes), default=0)
    labels = np.zeros(bits.bits.shape, np.uint8 if largest < 256 else np.uint16)
    for c in sorted(classes, key=lambda c: (PAINTED.index(c.kind), c.index)):
        labels[bits.mask(c.name)] = c.index
    return labels
