"""Surfaces of masks as pieces between the centres of 2 x 2 x 2 voxels: which piece lies where, and its area.

The pieces are those of marching cubes with vertices halfway between a voxel inside and a neighbour outside. Lorensen
and Cline, "Marching cubes", 1987. The areas are those of DeepMind's surface-distance, on sheared grids too.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import numpy.typing as npt

Corner = tuple[int, int, int]
Point = tuple[float, float, float]

_CORNERS: tuple[Corner, ...] = tuple(itertools.product((0, 1), repeat=3))  # type: ignore[arg-type]
_MOST_TRIANGLES = 4


def surfel_codes(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Which corners of each cell of 2 x 2 x 2 voxels are inside.

    Args:
        mask: bool [X, Y, Z].

    Returns:
        uint8 [X - 1, Y - 1, Z - 1]. The voxel at (i, j, k) of a cell has the bit 7 - (4 i + 2 j + k): a cell of code 0
        is outside, one of 255 inside, and every other holds a piece of the surface.
    """
    bits = mask.view(np.uint8)
    pairs = bits[:, :, :-1] << np.uint8(1) | bits[:, :, 1:]
    squares = pairs[:, :-1] << np.uint8(2) | pairs[:, 1:]
    return squares[:-1] << np.uint8(4) | squares[1:]


def surfel_areas(axes_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Area of the surface's piece in a cell of each code, mm2.

    Args:
        axes_mm: [3, 3], the steps of the grid as columns: an affine's upper left.

    Returns:
        float64 [256].
    """
    cofactors = np.linalg.det(axes_mm) * np.linalg.inv(axes_mm).T
    areas: npt.NDArray[np.float64] = np.linalg.norm(_unit_vectors() @ cofactors.T, axis=2).sum(axis=1)
    return areas


@functools.cache
def _unit_vectors() -> npt.NDArray[np.float64]:
    """Area vectors of the triangles in a cell of each code, in steps of the grid: [256, 4, 3], zeros after the last."""
    vectors = np.zeros((256, _MOST_TRIANGLES, 3))
    for code in range(256):
        inside = {c for bit, c in enumerate(_CORNERS) if code >> (7 - bit) & 1}
        found = [v for loop in _loops(inside) for v in _largest_fan(loop)]
        if found:
            vectors[code, : len(found)] = found
    return vectors


def _loops(inside: set[Corner]) -> list[list[Point]]:
    """The closed lines in which the surface cuts the faces of a cell; where a face is ambiguous, the fewer part."""
    apart = inside if len(inside) <= 4 else set(_CORNERS) - inside
    neighbours: dict[Point, list[Point]] = {}
    for axis, side in itertools.product(range(3), (0, 1)):
        ring = [_on_face(axis, side, u, v) for u, v in ((0, 0), (1, 0), (1, 1), (0, 1))]
        sides = [(a, b) for a, b in zip(ring, ring[1:] + ring[:1], strict=True) if (a in inside) != (b in inside)]
        if len(sides) == 4 and sides[0][1] not in apart:
            sides = sides[1:] + sides[:1]  # so that each pair of cuts has a corner of `apart` between them
        cuts = [_middle(a, b) for a, b in sides]
        for one, two in zip(cuts[::2], cuts[1::2], strict=True):
            neighbours.setdefault(one, []).append(two)
            neighbours.setdefault(two, []).append(one)
    loops = []
    while neighbours:
        point: Point | None = min(neighbours)
        loop = []
        while point is not None:
            loop.append(point)
            onwards = neighbours.pop(point)
            point = next((other for other in onwards if other in neighbours), None)
        loops.append(loop)
    return loops


def _largest_fan(loop: list[Point]) -> list[Point]:
    """Area vectors of the loop's triangles around one of its points, the one that gives the largest area."""
    fans = []
    for start, first in enumerate(loop):
        rest = loop[start + 1 :] + loop[:start]
        fans.append([_area_vector(first, one, two) for one, two in itertools.pairwise(rest)])
    return max(fans, key=lambda fan: round(sum(math.hypot(*vector) for vector in fan), 9))


def _area_vector(a: Point, b: Point, c: Point) -> Point:
    px, py, pz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    qx, qy, qz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    return (py * qz - pz * qy) / 2, (pz * qx - px * qz) / 2, (px * qy - py * qx) / 2


def _on_face(axis: int, side: int, u: int, v: int) -> Corner:
    corner = [u, v]
    corner.insert(axis, side)
    x, y, z = corner
    return x, y, z


def _middle(a: Corner, b: Corner) -> Point:
    x, y, z = ((p + q) / 2 for p, q in zip(a, b, strict=True))
    return x, y, z
