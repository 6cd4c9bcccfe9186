"""One of the two results: its organs and lesions, measured on its own grid."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from umlite.class_table import ClassTable
from umlite.classes import PUBLISHED
from umlite.comparison.alignment import Landmark
from umlite.errors import InputError, RequestError
from umlite.evaluation.agreement import edge_voxels
from umlite.evaluation.cases import Masks, check_same_grid, find_cases
from umlite.evaluation.tolerances import is_lesion
from umlite.masks.components import label_components
from umlite.masks.extent import hull_of_slices, longest_diameter
from umlite.results.lesions import axial_diameter
from umlite.volume.geometry import Grid, ras_axes
from umlite.volume.reading import Scan, read_scan

_SURFACE_POINTS = 20_000
_HOSTS = {c.name: c.hosts for c in ClassTable(c.name for c in PUBLISHED)}

Ints = npt.NDArray[np.int32]
Vector = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Organ:
    """A class that is no lesion.

    Args:
        name: canonical name.
        volume_ml: its volume.
        complete: whether it touches no face of the scan; None if it is empty.
        mean_hu: None without a scan.
        landmark: what it is aligned by; None if it is empty or only its cut is in view.
    """

    name: str
    volume_ml: float
    complete: bool | None
    mean_hu: float | None
    landmark: Landmark | None

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        hu = None if self.mean_hu is None else round(self.mean_hu, 2)
        return {"volume_ml": round(self.volume_ml, 4), "complete": self.complete, "mean_hu": hu}


@dataclass(frozen=True, eq=False)
class Spot:
    """One lesion: a 26-connected component of a tumour or cyst, as `umlite.results.lesions.Lesion` describes it.

    Args:
        id: class and number, the largest first.
        volume_ml, axial_diameter_mm, perpendicular_mm, diameter_slice, diameter_mm, centroid_mm: its size and place.
        complete: whether it touches no face of the scan.
        mean_hu: None without a scan.
        host: the host organ that holds most of it; None if none was segmented, or none holds any.
        places: its voxels, int32 [n, 3].
        surface_mm: its voxels at the surface, [m, 3], in RAS mm.
    """

    id: str
    volume_ml: float
    axial_diameter_mm: float
    perpendicular_mm: float
    diameter_slice: int
    diameter_mm: float
    centroid_mm: Vector
    complete: bool
    mean_hu: float | None
    host: str | None
    places: Ints = field(repr=False)
    surface_mm: npt.NDArray[np.float64] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: everything but its voxels."""
        names = ("volume_ml", "axial_diameter_mm", "perpendicular_mm", "diameter_mm", "mean_hu")
        numbers = {name: None if (v := getattr(self, name)) is None else round(v, 4) for name in names}
        return {
            "id": self.id,
            **numbers,
            "diameter_slice": self.diameter_slice,
            "centroid_mm": [round(mm, 3) for mm in self.centroid_mm],
            "complete": self.complete,
            "host": self.host,
        }


@dataclass(frozen=True, eq=False)
class Side:
    """Everything that a comparison needs of one result.

    Args:
        path: of the result.
        grid: where its voxels lie.
        organs: by name.
        spots: lesions by class, the largest first; an empty list for a class without any.
    """

    path: Path
    grid: Grid
    organs: dict[str, Organ]
    spots: dict[str, list[Spot]]


class Result:
    """A result on disk, whose masks are read when they are measured.

    Args:
        path: a folder of masks or a label map; see `umlite.evaluation.cases.find_cases`.
        names: of the labels of a label map without names.
        scan: the CT; None to do without HU.

    Raises:
        RequestError: no result, or several.
        InputError: a file that cannot be read.
    """

    def __init__(self, path: Path, names: dict[int, str] | None, scan: Path | None) -> None:
        cases, _ = find_cases(path)
        if len(cases) != 1:
            raise RequestError(
                f"{path} holds {len(cases)} cases: expected the masks of one scan. Name one of them, such as "
                f"{cases[0].path}."
            )
        self.path = path
        self._masks = Masks(cases[0], names)
        self._scan: Scan | None = None if scan is None else read_scan(scan, force_geometry=True)
        self._grid: Grid | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Classes that the result has a mask of, empty ones too."""
        return self._masks.names

    def measure(self, names: Sequence[str]) -> Side:
        """Measure these classes. Raises InputError where masks, or masks and scan, lie on different grids."""
        organs, spots = {}, {}
        for name in names:
            mask = self._read(name)
            if is_lesion(name):
                spots[name] = self._spots(name, mask)
            else:
                organs[name] = self._organ(name, mask)
        assert self._grid is not None
        return Side(self.path, self._grid, organs, spots)

    def _read(self, name: str) -> npt.NDArray[np.bool_]:
        mask, grid = self._masks.read(name)
        path = self._masks.case.path
        if self._grid is None:
            self._grid = grid
            if self._scan is not None and self._scan.path is not None:
                check_same_grid(grid, Grid(self._scan.shape, self._scan.affine), (path, self._scan.path))
        elif self._grid.shape != grid.shape or not np.allclose(self._grid.affine, grid.affine, atol=1e-3):
            raise InputError(f"Masks of {path} lie on different grids: expected those of one scan.")
        return mask

    def _organ(self, name: str, mask: npt.NDArray[np.bool_]) -> Organ:
        assert self._grid is not None
        first, cropped = _crop(mask)
        count = int(np.count_nonzero(cropped))
        if not count:
            return Organ(name, 0.0, None, None, None)
        edges = np.argwhere(edge_voxels(cropped)) + first
        free = edges[~_at_faces(edges, mask.shape)]
        complete = len(free) == len(edges)
        landmark = None
        if len(free):
            some = free[np.unique(np.linspace(0, len(free) - 1, _SURFACE_POINTS).round().astype(int))]
            middle = _moved(_middle(cropped) + first, self._grid)
            landmark = Landmark(middle, _moved(some, self._grid), complete, count * self._voxel_ml)
        return Organ(name, count * self._voxel_ml, complete, self._mean_hu(first, cropped), landmark)

    def _spots(self, name: str, mask: npt.NDArray[np.bool_]) -> list[Spot]:
        first, cropped = _crop(mask)
        labels, count = label_components(np.ascontiguousarray(cropped))
        if not count:
            return []
        places = np.argwhere(labels)
        owners = labels[tuple(places.T)]
        order = np.argsort(owners, kind="stable")
        parts = np.split((places + first)[order].astype(np.int32), np.cumsum(np.bincount(owners)[1:])[:-1])
        parts.sort(key=len, reverse=True)  # stable: components of one size stay in the order of their labels
        hosts = [(host, self._read(host)) for host in _HOSTS.get(name, ()) if host in self.names]
        return [self._spot(f"{name}_{rank}", part, hosts) for rank, part in enumerate(parts, start=1)]

    def _spot(self, id_: str, places: Ints, hosts: Sequence[tuple[str, npt.NDArray[np.bool_]]]) -> Spot:
        assert self._grid is not None
        axes, axis = self._grid.affine[:3, :3], ras_axes(self._grid.affine)[0][2]
        low = places.min(axis=0)
        own = np.zeros(places.max(axis=0) - low + 1, bool)
        own[tuple((places - low).T)] = True
        surface = (np.argwhere(edge_voxels(own)) + low).astype(np.int32)
        corners = hull_of_slices(surface, axis)
        axial, across, at = axial_diameter(corners, axes, axis)
        x, y, z = _moved(places.mean(axis=0), self._grid).tolist()
        shares = {host: float(mask[tuple(places.T)].mean()) for host, mask in hosts}
        return Spot(
            id=id_,
            volume_ml=len(places) * self._voxel_ml,
            axial_diameter_mm=axial,
            perpendicular_mm=across,
            diameter_slice=at,
            diameter_mm=longest_diameter(corners, axes).length_mm,
            centroid_mm=(x, y, z),
            complete=not _at_faces(places, self._grid.shape).any(),
            mean_hu=self._mean_hu(low, own),
            host=max((h for h in shares if shares[h]), key=lambda h: shares[h], default=None),
            places=places,
            surface_mm=_moved(surface, self._grid),
        )

    def _mean_hu(self, first: npt.NDArray[np.intp], mask: npt.NDArray[np.bool_]) -> float | None:
        """Mean HU of a mask that begins at a voxel."""
        if self._hu is None:
            return None
        x, y, z = (slice(start, start + n) for start, n in zip(first.tolist(), mask.shape, strict=True))
        return float(self._hu[x, y, z][mask].mean(dtype=np.float64))

    @functools.cached_property
    def _hu(self) -> npt.NDArray[Any] | None:
        return None if self._scan is None else self._scan.hu

    @property
    def _voxel_ml(self) -> float:
        assert self._grid is not None
        return abs(float(np.linalg.det(self._grid.affine[:3, :3]))) / 1000


def _crop(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """The first voxel of the smallest box around a mask, and the mask inside it; one voxel of an empty mask."""
    ends = []
    for axis in range(3):
        along = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        ends.append((int(along[0]), int(along[-1]) + 1) if len(along) else (0, 1))
    return np.array([start for start, _ in ends]), mask[tuple(slice(*end) for end in ends)]


def _middle(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Mean index of the voxels of a mask."""
    counts = [np.count_nonzero(mask, axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
    return np.array([n @ np.arange(len(n)) / n.sum() for n in counts])


def _at_faces(places: npt.NDArray[np.integer], shape: Sequence[int]) -> npt.NDArray[np.bool_]:
    return ((places == 0) | (places == np.array(shape) - 1)).any(axis=1)


def _moved(places: npt.NDArray[Any], grid: Grid) -> npt.NDArray[np.float64]:
    return places @ grid.affine[:3, :3].T + grid.affine[:3, 3]
