"""Which lesion of one scan is which of the other one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from umlite.comparison.alignment import Rigid
from umlite.comparison.side import Spot
from umlite.volume.geometry import Grid

LEAST_OVERLAP = 0.25
"""Share of the smaller lesion that must lie in the other one. A ball of 10 mm that is 3 mm off shares less than this
with a neighbour that it should only touch."""
REACH_MM = 5.0
"""Largest gap between two lesions that are one although they do not overlap: errors of alignment."""
_SURFACE_POINTS = 500

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """Lesions that belong together: numbers of the first scan's and of the second one's; either may be none."""

    ours: tuple[int, ...]
    theirs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Lesions:
    """The lesions of one class in one scan.

    Args:
        spots: the lesions.
        grid: of their voxels.
        movements: for each lesion, from its scan to the other one.
    """

    spots: Sequence[Spot]
    grid: Grid
    movements: Sequence[Rigid]

    def aligned(self, number: int, points_mm: Matrix) -> Matrix:
        """Points of a lesion, in the other scan's coordinates."""
        return self.movements[number](points_mm)

    def in_view_of(self, other: Lesions, number: int) -> bool:
        """Whether the middle of a lesion lies in the other scan."""
        index = _index(self.aligned(number, np.array([self.spots[number].centroid_mm])), other.grid)
        return bool(_inside(index, other.grid).all())


def match(ours: Lesions, theirs: Lesions) -> list[Group]:
    """Groups of lesions that belong together. Swapping both sides swaps them in every group.

    Lesions are linked where they overlap by LEAST_OVERLAP and one of them is the other one's best. Lesions without a
    link are paired by their gap, the smallest first, up to REACH_MM.
    """
    count, other_count = len(ours.spots), len(theirs.spots)
    shares = (_overlaps(ours, theirs) + _overlaps(theirs, ours).T) / 2
    sizes = [np.array([spot.volume_ml for spot in side.spots]) for side in (ours, theirs)]
    if count and other_count:
        shares = shares / np.minimum(sizes[0][:, None], sizes[1][None])
    best = (shares == shares.max(axis=1, keepdims=True, initial=0)) | (
        shares == shares.max(axis=0, keepdims=True, initial=0)
    )
    links = (shares >= LEAST_OVERLAP) & best
    free, other_free = np.flatnonzero(~links.any(axis=1)), np.flatnonzero(~links.any(axis=0))
    gaps = {(i, j): _gap_mm(ours, theirs, i, j) for i in free.tolist() for j in other_free.tolist()}
    for i, j in sorted(gaps, key=lambda pair: round(gaps[pair], 6)):
        if gaps[i, j] <= REACH_MM and not links[i].any() and not links[:, j].any():
            links[i, j] = True
    return _groups(links)


def _overlaps(ours: Lesions, theirs: Lesions) -> Matrix:
    """Volumes that lesions share, ml, by voxels of `ours`: [ours, theirs]."""
    shared = np.zeros((len(ours.spots), len(theirs.spots)))
    if not shared.size:
        return shared
    low = np.min([spot.places.min(axis=0) for spot in theirs.spots], axis=0)
    labels = np.zeros(np.max([spot.places.max(axis=0) for spot in theirs.spots], axis=0) - low + 1, np.int32)
    for number, spot in enumerate(theirs.spots, start=1):
        labels[tuple((spot.places - low).T)] = number
    axes, first = ours.grid.affine[:3, :3], ours.grid.affine[:3, 3]
    voxel_ml = abs(float(np.linalg.det(axes))) / 1000
    for number, spot in enumerate(ours.spots):
        index = _index(ours.aligned(number, spot.places @ axes.T + first), theirs.grid) - low
        index = index[((index >= 0) & (index < labels.shape)).all(axis=1)]
        counts = np.bincount(labels[tuple(index.T)], minlength=len(theirs.spots) + 1)
        shared[number] = counts[1:] * voxel_ml
    return shared


def _gap_mm(ours: Lesions, theirs: Lesions, i: int, j: int) -> float:
    """Distance between the nearest voxel centres of two lesions at their surfaces; the mean of both directions."""
    one, two = (_some(side.spots[number].surface_mm) for side, number in ((ours, i), (theirs, j)))
    ways = ((ours.aligned(i, one), two), (theirs.aligned(j, two), one))
    return float(np.mean([np.linalg.norm(a[:, None] - b[None], axis=2).min() for a, b in ways]))


def _some(points: Matrix) -> Matrix:
    return points[np.unique(np.linspace(0, len(points) - 1, _SURFACE_POINTS).round().astype(int))]


def _index(points_mm: Matrix, grid: Grid) -> npt.NDArray[np.int64]:
    inverse = np.linalg.inv(grid.affine)
    nearest: npt.NDArray[np.int64] = np.round(points_mm @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.int64)
    return nearest


def _inside(index: npt.NDArray[np.int64], grid: Grid) -> npt.NDArray[np.bool_]:
    inside: npt.NDArray[np.bool_] = np.all((index >= 0) & (index < np.array(grid.shape)), axis=1)
    return inside


def _groups(links: npt.NDArray[np.bool_]) -> list[Group]:
    """Connected parts of the graph of links, in the order of the first scan's lesions, then of the second one's."""
    groups, seen = [], set[tuple[int, int]]()
    for start in [(0, i) for i in range(links.shape[0])] + [(1, j) for j in range(links.shape[1])]:
        if start in seen:
            continue
        part, pending = {start}, [start]
        while pending:
            side, number = pending.pop()
            others = np.flatnonzero(links[number] if side == 0 else links[:, number]).tolist()
            new = {(1 - side, other) for other in others} - part
            part |= new
            pending += new
        seen |= part
        ours, theirs = (tuple(sorted(n for side, n in part if side == wanted)) for wanted in (0, 1))
        groups.append(Group(ours, theirs))
    return groups
