"""Overlapping masks to one label per voxel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from umlite.classes import KINDS, AnatomyClass
from umlite.masks.bitmask import BitMask
from umlite.masks.on_scan import MasksOnScan


class LabelMap:
    """What looks like an array [X, Y, Z] of the scan's grid, and is painted where it is read: [:, :, a:b]."""

    def __init__(self, masks: MasksOnScan, classes: Sequence[AnatomyClass]) -> None:
        self.shape, self.dtype = masks.shape, label_dtype(classes)
        self._masks, self._classes = masks, classes

    def __getitem__(self, index: tuple[slice, slice, slice]) -> np.ndarray:
        """Whole planes of the scan's last axis: [:, :, first:end]."""
        first, end, _ = index[2].indices(self.shape[2])
        return paint_label_map(self._masks.planes(first, end), self._classes)


def label_dtype(classes: Sequence[AnatomyClass]) -> np.dtype:
    """The smallest unsigned integers that hold the published indices."""
    return np.dtype(np.uint8 if max((c.index for c in classes), default=0) < 256 else np.uint16)


def paint_label_map(bits: BitMask, classes: Sequence[AnatomyClass]) -> np.ndarray:
    """[X, Y, Z] uint8 (uint16 when an index is over 255): the published index of each voxel's class, 0 elsewhere.

    In Fortran order, as NIfTI stores it, painted plane by plane.
    Where classes overlap, tumours lie over vessels and vessels over organs; within a kind the higher index wins.
    """
    labels = np.zeros(bits.shape, label_dtype(classes), order="F")
    ordered = sorted(classes, key=lambda c: (KINDS.index(c.kind), c.index))
    masks = bits.class_masks([c.name for c in ordered])
    for c, (_, mask) in zip(ordered, masks, strict=True):
        for z in np.flatnonzero(mask.planes):
            labels[:, :, z][mask[:, :, z : z + 1][:, :, 0]] = c.index
    return labels
