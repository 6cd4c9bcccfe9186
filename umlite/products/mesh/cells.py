"""How a surface cuts a cell of 2 x 2 x 2 voxels: the triangles for each set of corners inside.

Lorensen and Cline, "Marching cubes", 1987. A face whose inside corners lie across from each other can be cut in two
ways, and the caller says which: where two neighbouring cells are told the same, their triangles meet without a gap.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Corner = tuple[int, int, int]

CORNERS: tuple[Corner, ...] = tuple(itertools.product((0, 1), repeat=3))  # type: ignore[arg-type]
"""Corners of a cell; bit k of a code says whether corner k is inside."""
MIDDLE = 64
"""Number of the vertex in the middle of a cell."""


@dataclass(frozen=True)
class Face:
    """One face of a cell.

    Args:
        ring: its corners as numbers of CORNERS, counter-clockwise seen from outside the cell.
    """

    ring: tuple[int, int, int, int]

    def is_split(self, code: int) -> bool:
        """Whether two corners across from each other are inside and the others are not."""
        a, b, c, d = (code >> corner & 1 for corner in self.ring)
        return a == c and b == d and a != b


def _faces() -> tuple[Face, ...]:
    found = []
    for axis, side in itertools.product(range(3), (0, 1)):
        turns = [(0, 0), (1, 0), (1, 1), (0, 1)] if side else [(0, 0), (0, 1), (1, 1), (1, 0)]
        corners = []
        for u, v in turns:
            corner = [0, 0, 0]
            corner[axis], corner[(axis + 1) % 3], corner[(axis + 2) % 3] = side, u, v
            corners.append(corner[0] * 4 + corner[1] * 2 + corner[2])
        found.append(Face((corners[0], corners[1], corners[2], corners[3])))
    return tuple(found)


FACES = _faces()
"""The six faces of a cell; bit f of `joined` is that of face f."""


@dataclass(frozen=True, eq=False)
class CellCut:
    """The surface in a cell.

    Args:
        triangles: int64 [n, 3], counter-clockwise seen from outside the surface. Vertex 8 a + b lies on the edge
            between the corners a < b.
        around: vertices whose mean is the vertex MIDDLE; empty where no triangle has it.
    """

    triangles: npt.NDArray[np.int64]
    around: tuple[int, ...]


@functools.cache
def cut_cell(code: int, joined: int) -> CellCut:
    """The surface in a cell. No edge of two triangles lies in a face, but for the lines in which it cuts the faces.

    Args:
        code: bit k says whether corner k is inside.
        joined: bit f says, for each face f that is split, whether its two inside corners are connected across it.
    """
    triangles: list[tuple[int, int, int]] = []
    around: tuple[int, ...] = ()
    for loop in _loops(code, joined):
        starts = (loop[i:] + loop[:i] for i in range(len(loop)))
        fan = next((start for start in starts if _is_inside(start)), None)
        if fan is not None:
            triangles += [(fan[0], one, two) for one, two in itertools.pairwise(fan[1:])]
        else:  # at most one line of a cell is as long as that
            around = tuple(loop)
            triangles += [(MIDDLE, one, two) for one, two in zip(loop, loop[1:] + loop[:1], strict=True)]
    return CellCut(np.array(triangles, np.int64).reshape(-1, 3), around)


def _loops(code: int, joined: int) -> list[list[int]]:
    """The closed lines in which the surface cuts the faces, each in the direction that its triangles have."""
    onwards: dict[int, int] = {}
    for number, face in enumerate(FACES):
        inside = [code >> corner & 1 for corner in face.ring]
        cuts = [_edge(face.ring[i], face.ring[(i + 1) % 4]) for i in range(4)]
        enters = [i for i in range(4) if not inside[i] and inside[(i + 1) % 4]]
        exits = [i for i in range(4) if inside[i] and not inside[(i + 1) % 4]]
        # A line ends at the next exit where it goes around one corner, at the other one where corners are joined.
        turn = 2 if face.is_split(code) and joined >> number & 1 else 0
        for enter in enters:
            leave = min(exits, key=lambda i, enter=enter: (i - enter - 1 + turn) % 4)  # type: ignore[misc]
            onwards[cuts[enter]] = cuts[leave]
    loops = []
    while onwards:
        start = min(onwards)
        loop, place = [start], onwards.pop(start)
        while place != start:
            loop.append(place)
            place = onwards.pop(place)
        loops.append(loop)
    return loops


def _is_inside(fan: list[int]) -> bool:
    """Whether no inner edge of a fan around its first vertex joins two vertices of one face."""
    return not any(_share_face(fan[0], other) for other in fan[2:-1])


def _share_face(one: int, two: int) -> bool:
    corners = {one // 8, one % 8, two // 8, two % 8}
    return any(corners <= set(face.ring) for face in FACES)


def _edge(a: int, b: int) -> int:
    return 8 * min(a, b) + max(a, b)
