"""Overlapping masks to one label per voxel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from umlite.classes import AnatomyClass
from umlite.inference.bitmask import BitMask

PAINTED = ("organ", "vessel", "tumor")  # later kinds over earlier ones


def paint_label_map(bits: BitMask, classes: Sequence[AnatomyClass]) -> np.ndarray:
    """[X, Y, Z] uint8 (uint16 when an index is over 255): the published index of each voxel's class, 0 elsewhere.

    In Fortran order, as NIfTI stores it, painted plane by plane.
    Where classes overlap, tumours lie over vessels and vessels over organs; within a kind the higher index wins.
    """
    largest = max((c.index for c in classes), default=0)
    labels = np.zeros(bits.shape, np.uint8 if largest < 256 else np.uint16, order="F")
    ordered = sorted(classes, key=lambda c: (PAINTED.index(c.kind), c.index))
    masks = bits.class_masks([c.name for c in ordered])
    for c, (_, mask) in zip(ordered, masks, strict=True):
        for z in np.flatnonzero(mask.planes):
            labels[:, :, z][mask[:, :, z : z + 1][:, :, 0]] = c.index
    return labels
