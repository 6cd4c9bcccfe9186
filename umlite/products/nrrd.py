"""Masks as one segmentation NRRD, which 3D Slicer opens with names, colours and terminology, overlaps kept.

Layout: 3D Slicer's vtkMRMLSegmentationStorageNode. Segments that share voxels lie in different layers, which are the
first axis of the voxels; without overlaps there is one layer and no such axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from umlite.classes import AnatomyClass
from umlite.concepts import SIDES, Code, category_of, concept_of
from umlite.masks.bitmask import BitMask, Box
from umlite.outputs.file_set import Files
from umlite.products.place import Place
from umlite.products.product import Finished, NamedProduct
from umlite.results.label_map import label_dtype
from umlite.results.overlaps import OverlapTally
from umlite.results.staged_file import StagedFile

if TYPE_CHECKING:
    from umlite.masks.on_scan import MasksOnScan
    from umlite.results.segmentation import Segmentation

_LPS = np.diag([-1.0, -1.0, 1.0])
_CATEGORIES = "Segmentation category and type - DICOM master list"
_REGIONS = "Anatomic codes - DICOM master list"


class SegNrrd(NamedProduct):
    """One .seg.nrrd file."""

    def paths(self, place: Place, classes: Sequence[AnatomyClass]) -> list[Path]:  # noqa: ARG002  one file for all
        return [place.main]

    def write(self, files: Files, place: Place, finished: Finished) -> None:
        result = finished.result
        write_seg_nrrd(files, place.main, result, self.names_of(result.classes))


def write_seg_nrrd(files: Files, path: Path, result: Segmentation, names: Mapping[str, str]) -> None:
    """Write a segment for each class, empty ones too; its label is the class's index. Equal masks give equal bytes.

    The masks are read twice, a few planes at a time.

    Args:
        files: the set that it joins.
        path: the file.
        result: the masks.
        names: canonical name -> name of the segment.

    Raises:
        OutputError: the file cannot be written.
    """
    classes, found = result.classes, _survey(result.masks, result.classes)
    dtype = label_dtype(classes)
    header = _header(result, names, found, dtype)
    file = StagedFile(files, path, packed=True, before=header.encode())
    for slab in result.masks.slabs():
        labels = _paint(slab, classes, found.layers, dtype)
        file.write(labels.tobytes(order="F") if labels.any() else labels.nbytes)
    file.close()


@dataclass(frozen=True)
class _Survey:
    """The box around each class that was found, and the layer of every class, by name."""

    boxes: dict[str, Box]
    layers: dict[str, int]

    @property
    def count(self) -> int:
        return max(self.layers.values(), default=0) + 1


def _survey(masks: MasksOnScan, classes: Sequence[AnatomyClass]) -> _Survey:
    overlaps, first = OverlapTally(masks.names), 0
    boxes: dict[str, Box] = {}
    for slab in masks.slabs():
        overlaps.add(slab)
        for name, (x, y, z) in slab.boxes().items():
            here = (x, y, slice(z.start + first, z.stop + first))
            before = boxes.get(name, here)
            boxes[name] = (_joined(before[0], x), _joined(before[1], y), _joined(before[2], here[2]))
        first += slab.shape[2]
    pairs = {frozenset(pair.classes) for pair in overlaps.result(dict.fromkeys(boxes, 1), 1.0)}
    layers: dict[str, int] = {}
    for c in classes:
        taken = {layer for other, layer in layers.items() if frozenset((c.name, other)) in pairs}
        layers[c.name] = next(layer for layer in range(len(classes)) if layer not in taken)
    return _Survey(boxes, layers)


def _joined(one: slice, other: slice) -> slice:
    return slice(min(one.start, other.start), max(one.stop, other.stop))


def _paint(slab: BitMask, classes: Sequence[AnatomyClass], layers: Mapping[str, int], dtype: np.dtype) -> np.ndarray:
    """Labels [layers, X, Y, planes]."""
    labels = np.zeros((max(layers.values(), default=0) + 1, *slab.shape), dtype, order="F")
    for c, (_, mask) in zip(classes, slab.class_masks([c.name for c in classes]), strict=True):
        for z in np.flatnonzero(mask.planes):
            labels[layers[c.name], :, :, z][mask[:, :, z : z + 1][:, :, 0]] = c.index
    return labels


def _header(result: Segmentation, names: Mapping[str, str], found: _Survey, dtype: np.dtype) -> str:
    """The header with the empty line that ends it. NRRD's words for types are those of C's stdint without _t."""
    scan, layered = result.scan, found.count > 1
    directions = [_vector(column) for column in (_LPS @ scan.affine[:3, :3]).T]
    lines = [
        "NRRD0004",
        "# umlite",
        f"type: {dtype.name}",
        f"dimension: {3 + layered}",
        "space: left-posterior-superior",
        "sizes: " + " ".join(map(str, ((found.count,) if layered else ()) + scan.shape)),
        "space directions: " + " ".join([*["none"] * layered, *directions]),
        "kinds: " + " ".join([*["list"] * layered, "domain", "domain", "domain"]),
        "endian: little",
        "encoding: gzip",
        f"space origin: {_vector(_LPS @ scan.affine[:3, 3])}",
        *_segments(result.classes, names, found),
        "Segmentation_ContainedRepresentationNames:=Binary labelmap|",
        "Segmentation_MasterRepresentation:=Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset:=0 0 0",
        "Segmentation_SourceRepresentation:=Binary labelmap",
    ]
    return "\n".join(lines) + "\n\n"


def _segments(classes: Sequence[AnatomyClass], names: Mapping[str, str], found: _Survey) -> Iterator[str]:
    for number, c in enumerate(classes):
        box = found.boxes.get(c.name)
        extent = "0 -1 0 -1 0 -1" if box is None else " ".join(f"{s.start} {s.stop - 1}" for s in box)
        fields = {
            "Color": " ".join(f"{channel / 255:.6g}" for channel in c.color),
            "ColorAutoGenerated": "0",
            "Extent": extent,
            "ID": c.name,
            "LabelValue": str(c.index),
            "Layer": str(found.layers[c.name]),
            "Name": names[c.name],
            "NameAutoGenerated": "0",
            "Tags": f"TerminologyEntry:{_terminology(c)}|",
        }
        yield from (f"Segment{number}_{field}:={value}" for field, value in fields.items())


def _terminology(c: AnatomyClass) -> str:
    """Category, type and its side, then region and its side, as 3D Slicer serialises them."""
    concept = concept_of(c)
    parts = [
        _CATEGORIES,
        _code(category_of(c)),
        _code(concept.type),
        _code(SIDES.get(concept.side)),
        _REGIONS,
        _code(concept.region),
        _code(None),
    ]
    return "~".join(parts)


def _code(code: Code | None) -> str:
    return "^^" if code is None else f"{code.scheme}^{code.value}^{code.meaning}"


def _vector(numbers: np.ndarray) -> str:
    """The shortest digits that give the same float64 back; no minus before a zero."""
    return "(" + ",".join(repr(number + 0.0) for number in numbers.tolist()) + ")"
