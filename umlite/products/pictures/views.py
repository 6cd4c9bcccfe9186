"""Which slices show a segmentation best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from umlite.masks.bitmask import BitMask
from umlite.products.pictures.planes import planes_of
from umlite.results.segmentation import Segmentation


@dataclass(frozen=True)
class Views:
    """Slices of a scan, by their indices along the stored axes.

    Args:
        middle: the slice across each stored axis that shows most classes and, among those, most of them.
        row: axial slices from the feet to the head, evenly spaced over all that was segmented.
    """

    middle: tuple[int, int, int]
    row: tuple[int, ...]


def choose_views(result: Segmentation, count: int) -> Views:
    """Look at all masks once. count: of the slices in the row; fewer where there are fewer.

    Where nothing was segmented, the slices are those of the whole scan and its middle.
    """
    classes, voxels = _profiles(result)
    planes = {plane.across: plane for plane in planes_of(result.affine)}
    up = {plane.axes[i]: plane.reversed[i] for plane in planes.values() for i in (0, 1)}
    middle = [_best(classes[axis], voxels[axis], backwards=up[axis]) for axis in range(3)]
    axial = planes_of(result.affine)[0].across
    found = np.flatnonzero(voxels[axial])
    first, last = (int(found[0]), int(found[-1])) if found.size else (0, result.scan.shape[axial] - 1)
    steps = [round(step) for step in np.linspace(0, last - first, min(count, last - first + 1)).tolist()]
    row = tuple(first + step if up[axial] else last - step for step in steps)
    return Views((middle[0], middle[1], middle[2]), row)


def _profiles(result: Segmentation) -> tuple[list[list[int]], list[npt.NDArray[np.int64]]]:
    """For each index along each stored axis: the number of classes in that slice, and its segmented voxels."""
    shape, names = result.scan.shape, result.masks.names
    found = [BitMask.zeros([n if a == axis else 1 for a in range(3)], names) for axis, n in enumerate(shape)]
    voxels = [np.zeros(n, np.int64) for n in result.scan.shape]
    first = 0
    for slab in result.masks.slabs():
        here, anything = slice(first, first + slab.shape[2]), slab.any()
        for axis in range(3):
            others = tuple(a for a in range(3) if a != axis)
            for all_of, some in zip(found[axis].words, slab.along(axis).words, strict=True):
                part = all_of[:, :, here] if axis == 2 else all_of
                part |= some
            voxels[axis][here if axis == 2 else slice(None)] += np.count_nonzero(anything, axis=others)
        first += slab.shape[2]
    bits = [zip(*(word.ravel().tolist() for word in masks.words), strict=True) for masks in found]
    return [[sum(word.bit_count() for word in words) for words in each] for each in bits], voxels


def _best(classes: Sequence[int], voxels: npt.NDArray[np.int64], *, backwards: bool) -> int:
    """The index with most classes, then most voxels; the middle one of several, counted in RAS."""
    rank = list(zip(classes, voxels.tolist(), strict=True))
    best = [i for i, one in enumerate(rank) if one == max(rank)]
    return (best if not backwards else best[::-1])[(len(best) - 1) // 2]
