"""Lesions: one row for each component of a tumour or cyst, with its size, place, host and surroundings."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from umlite.masks.bitmask import BitMask
from umlite.masks.components import Labels
from umlite.masks.extent import Clusters, Places, hull_of_slices, longest_diameter, width_across
from umlite.results.tally import ClassTally, Hu

LogitsAt = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]
_FIXED_SUMS = 6
MOST_DESCRIBED = 1000
"""Lesions of one class. Only a mask of noise has more, hundreds of thousands of which would take minutes."""


@dataclass(frozen=True)
class Lesion:
    """One 26-connected component of a tumour or cyst.

    Diameters run between the outlines: a row of n voxels is n steps long.

    Args:
        id: name of the class and a number from 1, the largest lesion first.
        class_name: name of the tumour or cyst.
        voxels, volume_ml: its size.
        axial_diameter_mm: the longest line within one axial slice.
        perpendicular_mm: its width across that line in that slice.
        diameter_slice: that slice, 0-based, along the scan's slice axis; the first one in a tie.
        diameter_mm: the longest line in space.
        centroid_mm: mean of its voxel centres, in the scan's RAS coordinates.
        first_slice, last_slice: its first and last axial slice, 0-based.
        mean_hu: mean HU of its voxels.
        host: the organ that holds most of it, of those that its class may lie in; None if none holds any.
        host_share: share of its voxels inside the host; 0 without a host.
        host_distance_mm: distance between the nearest voxel centres of it and of such an organ, 0 if they overlap; None
            if no such organ was found.
        contrast_hu: its mean HU minus that of the host outside all requested lesions; None without a host.
        mean_logit, max_logit: over its voxels, before post-processing; None unless details were requested.
        nearest_vessel, vessel_distance_mm: the nearest requested vessel and the distance between the nearest voxel
            centres, 0 if they overlap; None if no vessel was found.
    """

    id: str
    class_name: str
    voxels: int
    volume_ml: float
    axial_diameter_mm: float
    perpendicular_mm: float
    diameter_slice: int
    diameter_mm: float
    centroid_mm: tuple[float, float, float]
    first_slice: int
    last_slice: int
    mean_hu: float
    host: str | None
    host_share: float
    host_distance_mm: float | None
    contrast_hu: float | None
    mean_logit: float | None
    max_logit: float | None
    nearest_vessel: str | None
    vessel_distance_mm: float | None

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON, rounded to 0.001 mm and HU."""
        fields = {name: round(v, 4) if isinstance(v, float) else v for name, v in asdict(self).items()}
        return fields | {"centroid_mm": [round(mm, 3) for mm in self.centroid_mm]}


class LesionTally:
    """Sums over the components of one tumour or cyst.

    Args:
        surroundings: hosts and vessels whose overlap with each component is counted.
        logits_at: gives the logits [n] of voxels of the scan [n, 3]; None where they are not known.
    """

    def __init__(self, surroundings: Sequence[str], logits_at: LogitsAt | None = None) -> None:
        self.surroundings = tuple(surroundings)
        self._logits_at = logits_at
        self._sums: list[tuple[Labels, npt.NDArray[np.float64], npt.NDArray[np.float64]]] = []

    def add(self, labels: Labels, hu: Hu, masks: Sequence[BitMask], first_voxel: Sequence[int]) -> None:
        """Add up the next planes.

        Args:
            labels: provisional labels of the class's components, [X, Y, Z].
            hu, masks: the scan's HU and all masks, at the same place.
            first_voxel: where in the scan they begin.
        """
        inside = np.nonzero(labels)
        found, which = np.unique(labels[inside], return_inverse=True)
        places = [along + start for along, start in zip(inside, first_voxel, strict=True)]
        logits = np.zeros(len(which)) if self._logits_at is None else self._logits_at(np.stack(places, 1))
        columns: Iterator[npt.NDArray[Any]] = itertools.chain(
            (np.ones(len(which)), hu[inside], *places, logits),
            (mask_in(masks, name)[inside] for name in self.surroundings),
        )
        sums = np.stack([np.bincount(which, weights=column) for column in columns], 1).astype(np.float64)
        most = np.full(len(found), -np.inf)
        np.maximum.at(most, which, logits)
        self._sums.append((found, sums, most))

    def by_component(
        self, numbers: npt.NDArray[np.int64], count: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64] | None]:
        """Sums by final component: voxels, HU, x, y, z, logit, then the overlap with each of the surroundings.

        The second is the greatest logit of each, None where logits are not known.
        """
        totals = np.zeros((count, _FIXED_SUMS + len(self.surroundings)))
        most = np.full(count, -np.inf)
        for labels, sums, greatest in self._sums:
            np.add.at(totals, numbers[labels], sums)
            np.maximum.at(most, numbers[labels], greatest)
        return totals, None if self._logits_at is None else most


def mask_in(masks: Sequence[BitMask], name: str) -> npt.NDArray[np.bool_]:
    """Mask of a class from the masks that hold it."""
    return next(bits for bits in masks if name in bits.names).mask(name)


class HostTally:
    """Mean HU of an organ outside the requested lesions."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, mask: npt.NDArray[np.bool_], hu: Hu, bits: BitMask, lesions: Iterable[str]) -> None:
        """Count the next planes of the organ, without voxels of these lesions."""
        for name in lesions:
            mask = mask & ~bits.mask(name)
        self._sum += float(hu[mask].sum(dtype=np.float64))
        self._count += int(np.count_nonzero(mask))

    @property
    def mean_hu(self) -> float | None:
        """The mean HU; None if nothing of the organ lies outside lesions."""
        return self._sum / self._count if self._count else None


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The organs and vessels that lesions are compared with.

    Args:
        affine: voxel index -> RAS mm, float64 [4, 4].
        slice_axis: the scan's axis across its axial slices.
        hosts_hu: mean HU outside lesions of the organs that can be hosts, by name.
        hosts, vessels: such organs and the requested vessels that were found, by name.
    """

    affine: npt.NDArray[np.float64]
    slice_axis: int
    hosts_hu: Mapping[str, float | None]
    hosts: Mapping[str, Clusters]
    vessels: Mapping[str, Clusters]


def describe_lesions(
    name: str, hosts: Sequence[str], tally: ClassTally, sums: LesionTally, around: Surroundings
) -> list[Lesion]:
    """Describe the components of one class, the largest first: all, or MOST_DESCRIBED of them.

    Args:
        name: name of the tumour or cyst.
        hosts: organs that it can lie in.
        tally, sums: its finished counts.
        around: its surroundings.
    """
    numbers, count = tally.components.numbers()
    totals, most = sums.by_component(numbers, count)
    places, labels = tally.surface()
    owners = numbers[labels]
    order = np.argsort(owners, kind="stable")
    parts = np.split(places[order], np.cumsum(np.bincount(owners, minlength=count))[:-1]) if count else []
    by_size = np.argsort(-totals[:, 0], kind="stable")[:MOST_DESCRIBED]
    return [
        _describe(f"{name}_{rank}", name, _Component(totals[i], most, i, sums.surroundings, parts[i]), hosts, around)
        for rank, i in enumerate(by_size.tolist(), start=1)
    ]


class _Component:
    """Sums of one component by name, and its voxels at the surface."""

    def __init__(
        self,
        sums: npt.NDArray[np.float64],
        most: npt.NDArray[np.float64] | None,
        number: int,
        surroundings: Sequence[str],
        surface: Places,
    ) -> None:
        self.voxels = int(sums[0])
        self.mean_hu = float(sums[1] / sums[0])
        self.centroid = sums[2:5] / sums[0]
        self.mean_logit = None if most is None else float(sums[5] / sums[0])
        self.max_logit = None if most is None else float(most[number])
        self.shares = dict(zip(surroundings, (sums[_FIXED_SUMS:] / sums[0]).tolist(), strict=True))
        self.surface = surface


def _describe(id_: str, name: str, part: _Component, hosts: Sequence[str], around: Surroundings) -> Lesion:
    axes, axis = around.affine[:3, :3], around.slice_axis
    corners = hull_of_slices(part.surface, axis)
    axial, across, at = axial_diameter(corners, axes, axis)
    x, y, z = (axes @ part.centroid + around.affine[:3, 3]).tolist()
    host = max((h for h in hosts if part.shares.get(h)), key=lambda h: part.shares[h], default=None)
    host_hu = None if host is None else around.hosts_hu[host]
    _, host_distance = _nearest(part, {h: around.hosts[h] for h in hosts if h in around.hosts}, around)
    vessel, distance = _nearest(part, around.vessels, around)
    return Lesion(
        id=id_,
        class_name=name,
        voxels=part.voxels,
        volume_ml=part.voxels * abs(float(np.linalg.det(axes))) / 1000,
        axial_diameter_mm=axial,
        perpendicular_mm=across,
        diameter_slice=at,
        diameter_mm=longest_diameter(corners, axes).length_mm,
        centroid_mm=(x, y, z),
        first_slice=int(corners[0, axis]),
        last_slice=int(corners[-1, axis]),
        mean_hu=part.mean_hu,
        host=host,
        host_share=0.0 if host is None else part.shares[host],
        host_distance_mm=host_distance,
        contrast_hu=None if host_hu is None else part.mean_hu - host_hu,
        mean_logit=part.mean_logit,
        max_logit=part.max_logit,
        nearest_vessel=vessel,
        vessel_distance_mm=distance,
    )


def axial_diameter(corners: Places, axes_mm: npt.NDArray[np.float64], axis: int) -> tuple[float, float, int]:
    """Longest line within a slice, the width across it, and the slice.

    Args:
        corners: as from `hull_of_slices`.
        axes_mm: [3, 3], the steps of the grid as columns.
        axis: the grid's axis across its slices.
    """
    plane = [a for a in range(3) if a != axis]
    slices = np.split(corners[:, plane], np.flatnonzero(np.diff(corners[:, axis])) + 1)
    numbers = np.unique(corners[:, axis]).tolist()
    lines = [longest_diameter(places, axes_mm[:, plane]) for places in slices]
    best = max(range(len(lines)), key=lambda i: round(lines[i].length_mm, 9))
    across = width_across(slices[best], axes_mm[:, plane], lines[best].vector_mm)
    return lines[best].length_mm, across, numbers[best]


def _nearest(part: _Component, others: Mapping[str, Clusters], around: Surroundings) -> tuple[str | None, float | None]:
    """The nearest of several classes, and the distance to it in mm; None if there are none."""
    touched = [name for name in others if part.shares[name]]
    if touched:
        return max(touched, key=lambda name: part.shares[name]), 0.0
    own = Clusters.of(part.surface, around.affine[:3, :3]) if others else None
    distances = {name: own.distance(other) for name, other in others.items() if own is not None}
    nearest = min(distances, key=lambda name: distances[name], default=None)
    return nearest, None if nearest is None else distances[nearest]
