"""A label map: overlapping masks reduced to one label per voxel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from umlite.classes import KINDS, AnatomyClass
from umlite.masks.bitmask import BitMask

if TYPE_CHECKING:
    from umlite.masks.on_scan import MasksOnScan


class LabelMap:
    """A label array [X, Y, Z] on the scan's grid whose planes are painted where they are read: [:, :, first:end].

    Args:
        masks: masks of all classes.
        classes: the classes to paint.
    """

    def __init__(self, masks: MasksOnScan, classes: Sequence[AnatomyClass]) -> None:
        self.shape, self.dtype = masks.shape, label_dtype(classes)
        self._masks, self._classes = masks, classes

    def __getitem__(self, index: tuple[slice, slice, slice]) -> np.ndarray:
        """Whole planes of the scan's last axis: [:, :, first:end]."""
        first, end, _ = index[2].indices(self.shape[2])
        return paint_label_map(self._masks.planes(first, end), self._classes)


def label_dtype(classes: Sequence[AnatomyClass]) -> np.dtype:
    """The smallest unsigned integer type that holds the indices of these classes."""
    return np.dtype(np.uint8 if max((c.index for c in classes), default=0) < 256 else np.uint16)


def paint_label_map(bits: BitMask, classes: Sequence[AnatomyClass]) -> np.ndarray:
    """Paint overlapping masks into one label array.

    Tumours cover vessels, and vessels cover organs. Within a kind the class with the higher index wins.

    Args:
        bits: masks of all classes.
        classes: the classes to paint.

    Returns:
        [X, Y, Z] uint8 (uint16 if an index is above 255) in Fortran order, as NIfTI stores it: the index of each
        voxel's class, 0 for background.
    """
    labels = np.zeros(bits.shape, label_dtype(classes), order="F")
    ordered = sorted(classes, key=lambda c: (KINDS.index(c.kind), c.index))
    masks = bits.class_masks([c.name for c in ordered])
    for c, (_, mask) in zip(ordered, masks, strict=True):
        for z in np.flatnonzero(mask.planes):
            labels[:, :, z][mask[:, :, z : z + 1][:, :, 0]] = c.index
    return labels
