"""How far a set of voxels reaches: longest diameters, the width across, the distance to other voxels.

A voxel reaches halfway to its neighbours along each axis, so that a row of n voxels is n steps long.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int32]
Vectors = npt.NDArray[np.float64]

_MOST_PAIRS = 1 << 20
_CUBE = 8


@dataclass(frozen=True, eq=False)
class Diameter:
    """The longest line between two points of a set of voxels.

    Args:
        length_mm: its length.
        vector_mm: vector from one end to the other, float64 [3].
    """

    length_mm: float
    vector_mm: Vectors


def longest_diameter(places: Places, axes_mm: Vectors) -> Diameter:
    """The longest line within a set of voxels, between points halfway to their neighbours.

    Args:
        places: [n, 3], n > 0: the voxels of the set, or only those with a face neighbour outside it.
        axes_mm: [3, k], the steps along k axes of the grid, as columns; voxels extend along these axes.

    Returns:
        The longest line; the first one in a tie.
    """
    points = places.astype(np.float64) @ axes_mm.T
    points = _far_out(points, float(np.linalg.norm(axes_mm, axis=0).max()))
    best = (-1.0, np.zeros(3))
    rows = max(1, _MOST_PAIRS // len(points))
    for first in range(0, len(points), rows):
        apart = points[None] - points[first : first + rows, None]
        squares = (apart**2).sum(axis=2)
        for step in axes_mm.T:
            along = apart @ step
            longest = squares + 2 * np.abs(along) + step @ step
            place = np.unravel_index(int(np.argmax(longest)), longest.shape)
            if longest[place] > best[0]:
                best = longest[place], apart[place] + (step if along[place] >= 0 else -step)
    return Diameter(float(np.sqrt(best[0])), best[1])


def width_across(places: Places, axes_mm: Vectors, line_mm: Vectors) -> float:
    """Width of a flat set of voxels at a right angle to a line in its plane, mm.

    Args:
        places: [n, 2], see `longest_diameter`.
        axes_mm: [3, 2], the steps along the plane's axes, as columns.
        line_mm: [3], a vector in the plane.
    """
    across = np.cross(np.cross(axes_mm[:, 0], axes_mm[:, 1]), line_mm)
    steps = across @ axes_mm / np.linalg.norm(across)
    return float(np.ptp(places @ steps) + np.abs(steps).max())


def hull_of_slices(places: Places, axis: int) -> Places:
    """Voxels at the corners of each slice's convex hull, among which are the ends of every longest line.

    Args:
        places: [n, 3].
        axis: axis across the slices.

    Returns:
        Rows of `places`, sorted by slice.
    """
    u, v = (a for a in range(3) if a != axis)
    ordered = places[np.lexsort((places[:, v], places[:, u], places[:, axis]))]
    lines = np.flatnonzero((np.diff(ordered[:, [axis, u]], axis=0) != 0).any(axis=1)) + 1
    ends = np.unique(np.concatenate([[0], lines, lines - 1, [len(ordered) - 1]]))
    ordered = ordered[ends]  # the first and the last voxel of every line along v
    slices = np.split(ordered, np.flatnonzero(np.diff(ordered[:, axis])) + 1)
    return np.concatenate([part[_hull(part[:, [u, v]].tolist())] for part in slices])


@dataclass(frozen=True, eq=False)
class Clusters:
    """A set of voxels in cubes of 8 x 8 x 8, to find its distance to another one.

    Args:
        centres_mm: the middle of each cube's voxels, [n, 3].
        radii_mm: how far the voxels reach from it, [n].
        points_mm: the voxel centres of each cube.
    """

    centres_mm: Vectors
    radii_mm: Vectors
    points_mm: list[Vectors]

    @classmethod
    def of(cls, places: Places, axes_mm: Vectors) -> Clusters:
        """Make clusters of voxels [n, 3], n > 0: all of a set, or only those with a face neighbour outside it."""
        cubes = places // _CUBE
        order = np.lexsort(cubes.T)
        cuts = np.flatnonzero((np.diff(cubes[order], axis=0) != 0).any(axis=1)) + 1
        points = np.split(places[order].astype(np.float64) @ axes_mm.T, cuts)
        centres = np.array([part.mean(axis=0) for part in points])
        radii = np.array([np.linalg.norm(p - c, axis=1).max() for p, c in zip(points, centres, strict=True)])
        return cls(centres, radii, points)

    def distance(self, other: Clusters) -> float:
        """Distance between the nearest voxel centres of two sets, mm."""
        best, rows = np.inf, max(1, _MOST_PAIRS // len(other.centres_mm))
        for start in range(0, len(self.centres_mm), rows):
            some = slice(start, start + rows)
            apart = np.linalg.norm(self.centres_mm[some, None] - other.centres_mm[None], axis=2)
            reach = self.radii_mm[some, None] + other.radii_mm[None]
            near = np.argwhere(apart - reach <= min(best, (apart + reach).min()))
            least = (apart - reach)[tuple(near.T)]
            for place in np.argsort(least):
                if least[place] >= best:
                    break
                a, b = near[place]
                points = self.points_mm[start + a][:, None] - other.points_mm[b][None]
                best = min(best, float(np.linalg.norm(points, axis=2).min()))
        return best


def _far_out(points: Vectors, reach_mm: float) -> Vectors:
    """Points that are far enough from the middle to be an end of the longest line."""
    radii = np.linalg.norm(points - points.mean(axis=0), axis=1)
    far = points[int(np.argmax(radii))]
    found = np.linalg.norm(points - far, axis=1).max()
    return points[radii + radii.max() + reach_mm >= found]


def _hull(points: list[list[int]]) -> list[int]:
    """Corners of the convex hull of distinct points in lexical order, by Andrew's monotone chain."""
    if len(points) < 3:
        return list(range(len(points)))
    corners: set[int] = set()
    for order in (range(len(points)), range(len(points) - 1, -1, -1)):
        chain: list[int] = []
        for i in order:
            while len(chain) > 1 and _turn(points[chain[-2]], points[chain[-1]], points[i]) <= 0:
                chain.pop()
            chain.append(i)
        corners.update(chain)
    return sorted(corners)


def _turn(a: list[int], b: list[int], c: list[int]) -> int:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
