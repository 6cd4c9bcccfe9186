"""Statistics of a segmentation: volumes, intensities, places and lesions, from one pass over scan and masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from umlite.masks.bitmask import BitMask
from umlite.masks.extent import Clusters
from umlite.results.intensities import Intensities
from umlite.results.lesions import HostTally, Lesion, LesionTally, LogitsAt, Surroundings, describe_lesions
from umlite.results.overlaps import Overlap, OverlapTally
from umlite.results.tally import ClassTally, Hu
from umlite.volume.geometry import Grid, ras_axes, spacing_of
from umlite.volume.reading import Scan

if TYPE_CHECKING:
    from umlite.results.segmentation import Segmentation

_SLAB_VOXELS = 1 << 22
_FACES = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))
"""Names of the ends of each RAS axis."""
COORDINATES = "mm, RAS: x grows to the patient's right, y to the front, z to the head; voxel centres"


@dataclass(frozen=True)
class ClassStatistics:
    """Statistics of one class on the scan's grid.

    Args:
        name: canonical name.
        voxels, volume_ml: its size, also on sheared and oblique grids.
        hu: its intensities; this and the next three are None if the class is empty.
        first_voxel, last_voxel: corners of the smallest box around it, 0-based and inclusive, in the scan's own axes.
        centroid_mm: mean of the voxel centres, in the scan's RAS coordinates.
        components: number of its 26-connected pieces.
        largest_share: share of its voxels in the largest of them; 0 if it is empty.
        surface_mm2: area of its surface by marching cubes at half height, closed where the scan ends.
        cut_faces: faces of the scan that it touches (left, right, posterior, anterior, inferior, superior), where the
            scan may end before the organ does.
    """

    name: str
    voxels: int
    volume_ml: float
    hu: Intensities | None
    first_voxel: tuple[int, int, int] | None
    last_voxel: tuple[int, int, int] | None
    centroid_mm: tuple[float, float, float] | None
    components: int
    largest_share: float
    surface_mm2: float
    cut_faces: tuple[str, ...]

    @property
    def complete(self) -> bool | None:
        """Whether it touches no face of the scan; None if it is empty, which may mean that it is out of view."""
        return not self.cut_faces if self.voxels else None

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "name": self.name,
            "voxels": self.voxels,
            "volume_ml": round(self.volume_ml, 4),
            "complete": self.complete,
            "cut_faces": list(self.cut_faces),
            "hu": self.hu and self.hu.to_dict(),
            "first_voxel": self.first_voxel and list(self.first_voxel),
            "last_voxel": self.last_voxel and list(self.last_voxel),
            "centroid_mm": self.centroid_mm and [round(mm, 3) for mm in self.centroid_mm],
            "components": self.components,
            "largest_share": round(self.largest_share, 4),
            "surface_mm2": round(self.surface_mm2, 2),
        }


@dataclass(frozen=True)
class Statistics:
    """Statistics of one segmentation.

    Args:
        classes: the requested classes, in order.
        lesions: lesions of the requested tumours and cysts, class by class, the largest first; see `remarks`.
        overlaps: pairs of requested classes that share voxels, the first pair of classes first.
        slice_axis: the scan's axis across its axial slices (0 to 2), the one closest to head and feet.
    """

    classes: tuple[ClassStatistics, ...]
    lesions: tuple[Lesion, ...]
    overlaps: tuple[Overlap, ...]
    slice_axis: int

    @property
    def remarks(self) -> tuple[str, ...]:
        """One sentence for each class that has more than MOST_DESCRIBED lesions."""
        listed = Counter(lesion.class_name for lesion in self.lesions)
        return tuple(
            f"{c.name} is in {c.components:,} pieces, of which the {n:,} largest are described as lesions."
            for c in self.classes
            if c.components > (n := listed[c.name]) > 0
        )

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "coordinates": COORDINATES,
            "slice_axis": self.slice_axis,
            "classes": [c.to_dict() for c in self.classes],
            "lesions": [lesion.to_dict() for lesion in self.lesions],
            "overlaps": [overlap.to_dict() for overlap in self.overlaps],
        }


def statistics(result: Segmentation) -> Statistics:
    """Measure each class and lesion of a segmentation on the scan's own grid.

    Scan and masks are read once, some planes at a time.

    Raises:
        InputError: the scan cannot be read again.
    """
    counts = _Counts(result)
    planes = max(1, _SLAB_VOXELS // (result.scan.shape[0] * result.scan.shape[1]))
    first = 0
    for hu, masks in zip(result.scan.slabs(planes), _masks(result, planes), strict=True):
        counts.add(hu, masks, first)
        first += hu.shape[2]
    return counts.result()


def _masks(result: Segmentation, planes: int) -> Iterator[tuple[BitMask, ...]]:
    """Masks of the requested classes, and of hosts that were not requested, some planes at a time."""
    sources = [result.masks] + ([result.details.hosts] if result.details else [])
    return zip(*(source.slabs(planes) for source in sources), strict=True)


class _Counts:
    """Everything that is counted while a scan is read."""

    def __init__(self, result: Segmentation) -> None:
        self._scan = scan = result.scan
        self._names = names = [c.name for c in result.classes]
        others = result.details.hosts.names if result.details else ()
        self._lesion_classes = [c for c in result.classes if c.kind == "tumor"]
        self._vessels = [c.name for c in result.classes if c.kind == "vessel" and self._lesion_classes]
        hosts = {host for c in self._lesion_classes for host in c.hosts}
        self._hosts = {host: HostTally() for host in (*names, *others) if host in hosts}
        surfaces = {*self._vessels, *self._hosts, *(c.name for c in self._lesion_classes)}
        self._tallies = {name: ClassTally(scan, surface=name in surfaces) for name in (*names, *others)}
        self._lesions = {
            c.name: LesionTally([*(h for h in c.hosts if h in self._hosts), *self._vessels], _logits_of(result, c.name))
            for c in self._lesion_classes
        }
        self._overlaps = OverlapTally(names)

    def add(self, hu: Hu, masks: Sequence[BitMask], first: int) -> None:
        """Count planes of scan and masks from plane `first` on."""
        self._overlaps.add(masks[0])
        for bits in masks:
            for name, box in bits.boxes().items():
                here = [m.part(box) for m in masks]
                place = (box[0], box[1], slice(box[2].start + first, box[2].stop + first))
                mask = bits.mask(name, box)
                labels = self._tallies[name].add(mask, hu[box], place)
                if name in self._lesions:
                    self._lesions[name].add(labels, hu[box], here, [along.start for along in place])
                if name in self._hosts:
                    self._hosts[name].add(mask, hu[box], here[0], self._lesions)

    def result(self) -> Statistics:
        """The statistics, once all planes have been added."""
        for tally in self._tallies.values():
            tally.finish()
        affine = self._scan.affine
        around = Surroundings(
            affine=affine,
            slice_axis=ras_axes(affine)[0][2],
            hosts_hu={name: host.mean_hu for name, host in self._hosts.items()},
            hosts=self._clusters(self._hosts),
            vessels=self._clusters(self._vessels),
        )
        lesions = [
            lesion
            for c in self._lesion_classes
            for lesion in describe_lesions(c.name, c.hosts, self._tallies[c.name], self._lesions[c.name], around)
        ]
        rows = [_describe(name, self._tallies[name], self._scan) for name in self._names]
        overlaps = self._overlaps.result({row.name: row.voxels for row in rows}, self._scan.voxel_volume_ml)
        return Statistics(tuple(rows), tuple(lesions), overlaps, around.slice_axis)

    def _clusters(self, names: Iterable[str]) -> dict[str, Clusters]:
        """Surfaces of the classes that were found."""
        if not any(self._tallies[c.name].voxels for c in self._lesion_classes):
            return {}
        surfaces = {name: self._tallies[name].surface()[0] for name in names}
        axes = self._scan.affine[:3, :3]
        return {name: Clusters.of(places, axes) for name, places in surfaces.items() if len(places)}


def _logits_of(result: Segmentation, name: str) -> LogitsAt | None:
    """Looks up logits of a lesion's voxels by their place in the scan."""
    if result.details is None:
        return None
    logits, masks = result.details.lesion_logits, result.computed
    return lambda places: logits.at(name, masks.places_in_model(places))


def _describe(name: str, tally: ClassTally, scan: Scan) -> ClassStatistics:
    voxels, components = tally.voxels, tally.component_voxels()
    if not voxels:
        return ClassStatistics(name, 0, 0.0, None, None, None, None, 0, 0.0, 0.0, ())
    ends = [np.flatnonzero(profile)[[0, -1]].tolist() for profile in tally.profiles]
    middle = [profile @ np.arange(len(profile)) / voxels for profile in tally.profiles]
    (x1, x2), (y1, y2), (z1, z2) = ends
    x, y, z = (scan.affine[:3, :3] @ middle + scan.affine[:3, 3]).tolist()
    return ClassStatistics(
        name=name,
        voxels=voxels,
        volume_ml=voxels * scan.voxel_volume_ml,
        hu=tally.histogram.result(),
        first_voxel=(x1, y1, z1),
        last_voxel=(x2, y2, z2),
        centroid_mm=(x, y, z),
        components=len(components),
        largest_share=float(components.max()) / voxels,
        surface_mm2=tally.surface_mm2(scan.affine[:3, :3]),
        cut_faces=faces_near(ends, Grid(scan.shape, scan.affine)),
    )


def faces_near(ends: Sequence[Sequence[int]], grid: Grid, within_mm: float = 0.0) -> tuple[str, ...]:
    """Names of a scan's faces that a box touches, from left to superior.

    Args:
        ends: first and last voxel along each axis of the grid.
        grid: the scan's.
        within_mm: how far from the outermost planes the box may end and still count.
    """
    axes, flips = ras_axes(grid.affine)
    spacing = spacing_of(grid.affine)
    found = []
    for axis, flip, (low, high) in zip(axes, flips, _FACES, strict=True):
        gaps = ends[axis][0], grid.shape[axis] - 1 - ends[axis][1]
        at_ends = [gap * spacing[axis] <= within_mm for gap in gaps]
        found += [face for face, cut in zip((low, high), reversed(at_ends) if flip else at_ends, strict=True) if cut]
    return tuple(found)
