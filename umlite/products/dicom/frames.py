"""Frames of a segmentation: found in one pass over the masks, written in another, never all in memory."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from umlite.classes import AnatomyClass
from umlite.dicom.frames import Frame
from umlite.dicom.library import pydicom
from umlite.errors import InputError
from umlite.masks.on_scan import MasksOnScan
from umlite.products.dicom.coding import SEGMENTATION, SOURCE_IMAGE, coded
from umlite.products.dicom.origin import Origin, class_of
from umlite.results.label_map import paint_label_map

_UNDEFINED = 0xFFFFFFFF
_MOST_BYTES = 0xFFFFFFFE
_RLE = "1.2.840.10008.1.2.5"
_ITEM, _ITEMS_END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)


@dataclass(frozen=True, eq=False)
class Survey:
    """Where classes are, on measured planes.

    planes: numbers of the planes of the scan's last axis in which each class occurs. overlaps: whether any voxel is of
    two classes. digest: of all masks.
    """

    planes: dict[str, np.ndarray]
    overlaps: bool
    digest: str

    @property
    def found(self) -> list[str]:
        """Names of the classes that occur."""
        return [name for name, planes in self.planes.items() if len(planes)]

    @property
    def any_planes(self) -> np.ndarray:
        """Planes in which any class occurs, in order."""
        return np.unique(np.concatenate(list(self.planes.values())))


@dataclass(frozen=True)
class Slot:
    """A frame to be: a plane of the scan and the number of its segment, None for a label map."""

    plane: int
    segment: int | None


def survey(masks: MasksOnScan, classes: Sequence[AnatomyClass], is_measured: np.ndarray) -> Survey:
    """Look once at all masks."""
    planes: dict[str, list[int]] = {c.name: [] for c in classes}
    names = tuple(planes)
    overlaps, first, digest = False, 0, hashlib.blake2b(digest_size=16)
    for each in masks.slabs():
        slab = each if each.names == names else each.select(names)
        for word in slab.words:
            digest.update(np.ascontiguousarray(word.T).data)
        here = is_measured[first : first + slab.shape[2]]
        overlaps = overlaps or bool(slab.shared()[:, :, here].any())
        for name, mask in slab.class_masks(names):
            planes[name] += (np.flatnonzero(mask.planes & here) + first).tolist()
        first += slab.shape[2]
    return Survey({name: np.array(found, int) for name, found in planes.items()}, overlaps, digest.hexdigest())


def write_groups(file: IO[bytes], origin: Origin, slots: Sequence[Slot]) -> None:
    """Append the functional groups of all frames: the segment, the plane and its place, the slice it is made from."""
    order = {plane: place for place, plane in enumerate(sorted({slot.plane for slot in slots}), start=1)}
    planes = {plane: _plane_parts(origin.frame(plane)) for plane in order}
    segments = {slot.segment: _segment_part(slot.segment) for slot in slots}
    file.write(_long_element(0x5200, 0x9230, b"SQ", _UNDEFINED))
    for slot in slots:
        derivation, position = planes[slot.plane]
        index = [order[slot.plane]] if slot.segment is None else [slot.segment, order[slot.plane]]
        item = derivation + _content_part(index) + position + segments[slot.segment]
        file.write(_item(len(item)) + item)
    file.write(struct.pack("<HHI", *_ITEMS_END, 0))


def write_bits(
    file: IO[bytes], masks: MasksOnScan, numbers: dict[str, int], slots: Sequence[Slot], size: tuple[int, int]
) -> None:
    """Append pixels of one bit, frame after frame without gaps between them.

    Raises InputError where they are more than a DICOM file holds.
    """
    pixels = size[0] * size[1]
    length = -(-pixels * len(slots) // 8)
    length += length % 2
    if length > _MOST_BYTES:
        raise InputError(
            f"The masks need {length / 1e9:.1f} GB as bits of one DICOM object, which holds 4.3 GB. Write a DICOM "
            f"label map, or ask for fewer classes.",
            about="classes",
        )
    file.write(_long_element(0x7FE0, 0x0010, b"OB", length))
    start = file.tell()
    file.truncate(start + length)
    places = {(slot.segment, slot.plane): place for place, slot in enumerate(slots)}
    first = 0
    for slab in masks.slabs():
        for name, mask in slab.class_masks(list(numbers)):
            for z in np.flatnonzero(mask.planes):
                place = places.get((numbers[name], first + int(z)))
                if place is not None:
                    _put_bits(file, start, place * pixels, mask[:, :, z : z + 1][:, :, 0].T)
        first += slab.shape[2]


def write_labels(file: IO[bytes], masks: MasksOnScan, classes: Sequence[AnatomyClass], slots: Sequence[Slot]) -> None:
    """Append a label map, a frame a plane, compressed by run lengths."""
    file.write(_long_element(0x7FE0, 0x0010, b"OB", _UNDEFINED) + _item(0))
    for data in _packed_labels(masks, classes, {slot.plane for slot in slots}):
        file.write(_item(len(data)) + data)
    file.write(struct.pack("<HHI", *_ITEMS_END, 0))


def _packed_labels(masks: MasksOnScan, classes: Sequence[AnatomyClass], wanted: set[int]) -> Iterator[bytes]:
    first = 0
    for slab in masks.slabs():
        here = [z for z in range(slab.shape[2]) if first + z in wanted]
        labels = paint_label_map(slab, classes) if here else None
        for z in here:
            assert labels is not None
            yield _packed(np.ascontiguousarray(labels[:, :, z].T))
        first += slab.shape[2]


def _packed(labels: np.ndarray) -> bytes:
    """A frame [rows, columns] by run lengths, of an even length."""
    bits = labels.dtype.itemsize * 8
    data: bytes = (
        pydicom()
        .pixels.get_encoder(_RLE)
        .encode(
            labels,
            rows=labels.shape[0],
            columns=labels.shape[1],
            samples_per_pixel=1,
            number_of_frames=1,
            bits_allocated=bits,
            bits_stored=bits,
            pixel_representation=0,
            photometric_interpretation="MONOCHROME2",
            encoding_plugin="pydicom",  # gdcm's ends the process where sides are odd
        )
    )
    return data + b"\0" * (len(data) % 2)


def _put_bits(file: IO[bytes], start: int, bit: int, frame: np.ndarray) -> None:
    """Write a frame [rows, columns] at a bit of the pixels, the first pixel in the lowest bit of a byte.

    Frames before and after may share its first and last byte.
    """
    place, shift = start + bit // 8, bit % 8
    flat = np.concatenate([np.zeros(shift, bool), frame.ravel()])
    packed = np.packbits(flat, bitorder="little")
    for edge in {0, len(packed) - 1} if len(flat) % 8 or shift else ():
        file.seek(place + edge)
        packed[edge] |= file.read(1)[0]
    file.seek(place)
    file.write(packed.tobytes())


def _plane_parts(frame: Frame | None) -> tuple[bytes, bytes]:
    """Encoded elements of a plane: what it is derived from, and where it lies."""
    from pydicom.dataset import Dataset
    from pydicom.valuerep import format_number_as_ds

    assert frame is not None
    source, derivation, position = Dataset(), Dataset(), Dataset()
    source.ReferencedSOPClassUID = class_of(frame)
    source.ReferencedSOPInstanceUID = frame.header.instance_uid
    if frame.pixels.frames > 1:
        source.ReferencedFrameNumber = frame.index + 1
    source.PurposeOfReferenceCodeSequence = [coded(SOURCE_IMAGE)]
    source.SpatialLocationsPreserved = "YES"
    derivation.SourceImageSequence = [source]
    derivation.DerivationCodeSequence = [coded(SEGMENTATION)]
    position.ImagePositionPatient = [format_number_as_ds(float(mm)) for mm in frame.position]
    return (
        _encoded(DerivationImageSequence=[derivation]),
        _encoded(PlanePositionSequence=[position]),
    )


def _content_part(index: list[int]) -> bytes:
    from pydicom.dataset import Dataset

    content = Dataset()
    content.DimensionIndexValues = index
    return _encoded(FrameContentSequence=[content])


def _segment_part(number: int | None) -> bytes:
    from pydicom.dataset import Dataset

    if number is None:
        return b""
    identification = Dataset()
    identification.ReferencedSegmentNumber = number
    return _encoded(SegmentIdentificationSequence=[identification])


def _encoded(**elements: Any) -> bytes:
    from pydicom.dataset import Dataset
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    data, buffer = Dataset(), DicomBytesIO()
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, data)
    return buffer.getvalue()


def _long_element(group: int, number: int, kind: bytes, length: int) -> bytes:
    return struct.pack("<HH2sHI", group, number, kind, 0, length)


def _item(length: int) -> bytes:
    return struct.pack("<HHI", *_ITEM, length)
