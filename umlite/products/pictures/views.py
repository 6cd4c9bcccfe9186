"""Which slices show a segmentation best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
    bits, voxels = _profiles(result)
    planes = {plane.across: plane for plane in planes_of(result.affine)}
    up = {plane.axes[i]: plane.reversed[i] for plane in planes.values() for i in (0, 1)}
    middle = [_best(bits[axis], voxels[axis], backwards=up[axis]) for axis in range(3)]
    axial = planes_of(result.affine)[0].across
    found = np.flatnonzero(voxels[axial])
    first, last = (int(found[0]), int(found[-1])) if found.size else (0, result.scan.shape[axial] - 1)
    steps = [round(step) for step in np.linspace(0, last - first, min(count, last - first + 1)).tolist()]
    row = tuple(first + step if up[axial] else last - step for step in steps)
    return Views((middle[0], middle[1], middle[2]), row)


def _profiles(result: Segmentation) -> tuple[list[npt.NDArray[np.uint64]], list[npt.NDArray[np.int64]]]:
    """For each index along each stored axis: the bits of the classes in that slice, and its segmented voxels."""
    bits = [np.zeros(n, np.uint64) for n in result.scan.shape]
    voxels = [np.zeros(n, np.int64) for n in result.scan.shape]
    first = 0
    for slab in result.masks.slabs():
        here = (slice(None), slice(None), slice(first, first + slab.shape[2]))
        for axis in range(3):
            others = tuple(a for a in range(3) if a != axis)
            bits[axis][here[axis]] |= np.bitwise_or.reduce(slab.bits, axis=others).astype(np.uint64)
            voxels[axis][here[axis]] += np.count_nonzero(slab.bits, axis=others)
        first += slab.shape[2]
    return bits, voxels


def _best(bits: npt.NDArray[np.uint64], voxels: npt.NDArray[np.int64], *, backwards: bool) -> int:
    """The index with most classes, then most voxels; the middle one of several, counted in RAS."""
    rank: Sequence[tuple[int, int]] = list(zip((int(b).bit_count() for b in bits), voxels.tolist(), strict=True))
    best = [i for i, one in enumerate(rank) if one == max(rank)]
    return (best if not backwards else best[::-1])[(len(best) - 1) // 2]
