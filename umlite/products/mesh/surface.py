"""The surface where a field on a grid crosses zero: marching cubes, a few planes at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from umlite.products.mesh.cells import CORNERS, FACES, MIDDLE, cut_cell

Floats = npt.NDArray[np.float32]
Keys = npt.NDArray[np.int64]

_SLAB_VOXELS = 1 << 21
_KINDS = 4
"""Vertices that belong to a voxel: one on the edge to the next voxel along each axis, and one in its cell's middle."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """A closed surface of triangles.

    Args:
        points: float64 [n, 3].
        triangles: int64 [m, 3], rows of `points`, counter-clockwise seen from outside.
    """

    points: npt.NDArray[np.float64]
    triangles: npt.NDArray[np.int64]

    @property
    def volume(self) -> float:
        """The volume inside, in cubes of the unit of the points."""
        if not len(self.points):
            return 0.0
        a, b, c = np.moveaxis((self.points - self.points.mean(axis=0))[self.triangles], 1, 0)
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)

    def moved(self, affine: npt.NDArray[np.float64]) -> Mesh:
        """The mesh with its points moved by an affine [4, 4]; its triangles still face outwards."""
        triangles = self.triangles[:, ::-1] if np.linalg.det(affine[:3, :3]) < 0 else self.triangles
        return Mesh(self.points @ affine[:3, :3].T + affine[:3, 3], triangles)


def zero_surface(planes: Callable[[int, int], Floats], shape: tuple[int, int, int]) -> Mesh:
    """The surface between positive values of a field and others, closed, in steps of the grid.

    Vertices lie where linear interpolation between neighbouring voxels is 0. On a face of a cell that can be cut in two
    ways, bilinear interpolation decides. Nielson and Hamann, "The asymptotic decider", 1991.

    Args:
        planes: gives planes `first` to `end` (excluded) of the first axis, float32. The field's outermost voxels must
            be negative, so that the surface is closed.
        shape: of the field, [X, Y, Z].
    """
    pieces = [_Piece()]
    step = max(1, _SLAB_VOXELS // max(1, shape[1] * shape[2]))
    for first in range(0, shape[0] - 1, step):
        slab = _Slab(planes(first, min(first + step + 1, shape[0])), first, shape)
        pieces += [*slab.edge_vertices(), *slab.cuts()]
    keys, points, triangles = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    order = np.argsort(keys)
    return Mesh(points[order], np.searchsorted(keys[order], triangles))


class _Piece(NamedTuple):
    """Part of a surface: keys [n] and places [n, 3] of vertices, and triangles [m, 3] of keys, also of other parts."""

    keys: Keys = np.zeros(0, np.int64)
    points: npt.NDArray[np.float64] = np.zeros((0, 3))
    triangles: Keys = np.zeros((0, 3), np.int64)


class _Slab:
    """Neighbouring planes of a field.

    Args:
        values: [planes, Y, Z].
        first: number of the first plane.
        shape: of the whole field.
    """

    def __init__(self, values: Floats, first: int, shape: tuple[int, int, int]) -> None:
        self._values, self._inside = values, values > 0
        self._first, self._strides = first, np.array([shape[1] * shape[2], shape[2], 1])

    def edge_vertices(self) -> Iterator[_Piece]:
        """The vertices between neighbouring voxels, without those within the last plane."""
        for axis in range(3):
            low, high = [slice(None)] * 3, [slice(None)] * 3
            low[axis], high[axis] = slice(None, -1), slice(1, None)
            low[0] = slice(None, -1)
            high[0] = slice(1, None) if axis == 0 else slice(None, -1)
            places = np.argwhere(self._inside[tuple(low)] != self._inside[tuple(high)])
            one, two = (self._values[tuple(side)][tuple(places.T)].astype(np.float64) for side in (low, high))
            points = places.astype(np.float64)
            points[:, axis] += one / (one - two)
            points[:, 0] += self._first
            yield _Piece(self._keys(places, axis), points)

    def cuts(self) -> Iterator[_Piece]:
        """Triangles of all cells, with the vertices in the middle of cells."""
        codes = np.zeros([n - 1 for n in self._values.shape], np.uint8)
        for bit, corner in enumerate(CORNERS):
            codes |= self._corner(self._inside, corner) * np.uint8(1 << bit)
        cells = np.argwhere((codes > 0) & (codes < 255))
        code = codes[tuple(cells.T)].astype(np.int64)
        kind = code << len(FACES) | self._joined(cells, code)
        order = np.argsort(kind, kind="stable")
        kinds, starts = np.unique(kind[order], return_index=True)
        for number, first, end in zip(kinds.tolist(), starts, [*starts[1:], len(order)], strict=False):
            group = order[first:end]
            cut = cut_cell(number >> len(FACES), number & (1 << len(FACES)) - 1)
            here = cells[group]
            keys = {vertex: self._vertex_keys(here, vertex) for vertex in np.unique(cut.triangles).tolist()}
            triangles = np.stack([np.stack([keys[v] for v in row], 1) for row in cut.triangles.tolist()], 1)
            yield _Piece(triangles=triangles.reshape(-1, 3))
            if cut.around:
                yield _Piece(keys[MIDDLE], self._middle(here, cut.around))

    def _joined(self, cells: Keys, code: Keys) -> Keys:
        """For each cell, which of its split faces have their inside corners connected."""
        joined = np.zeros(len(cells), np.int64)
        for number, face in enumerate(FACES):
            corners = [code >> corner & 1 for corner in face.ring]
            split = np.flatnonzero((corners[0] == corners[2]) & (corners[1] == corners[3]) & (corners[0] != corners[1]))
            a, b, c, d = (self._at(cells[split], corner).astype(np.float64) for corner in face.ring)
            one, other = a * c, b * d
            connected = np.where(corners[0][split] == 1, one > other, other > one)
            joined[split] |= connected.astype(np.int64) << number
        return joined

    def _vertex_keys(self, cells: Keys, vertex: int) -> Keys:
        if vertex == MIDDLE:
            return self._keys(cells, 3)
        a, b = CORNERS[vertex // 8], CORNERS[vertex % 8]
        return self._keys(cells + np.array(a), int(np.argmax(np.subtract(b, a))))

    def _middle(self, cells: Keys, around: tuple[int, ...]) -> npt.NDArray[np.float64]:
        points = np.zeros((len(cells), 3))
        for vertex in around:
            a, b = vertex // 8, vertex % 8
            one, two = (self._at(cells, corner).astype(np.float64) for corner in (a, b))
            along = (one / (one - two))[:, None] * np.subtract(CORNERS[b], CORNERS[a])
            points += cells + np.array(CORNERS[a]) + along
        points /= len(around)
        points[:, 0] += self._first
        return points

    def _at(self, cells: Keys, corner: int) -> Floats:
        return self._values[tuple((cells + np.array(CORNERS[corner])).T)]

    def _keys(self, places: Keys, kind: int) -> Keys:
        keys: Keys = ((places + np.array([self._first, 0, 0])) @ self._strides) * _KINDS + kind
        return keys

    @staticmethod
    def _corner(values: npt.NDArray[np.bool_], corner: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
        x, y, z = (slice(1, None) if end else slice(None, -1) for end in corner)
        return values[x, y, z]
