"""A result as DICOM-SEG: one object with all classes found, on the source's own planes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from umlite import __version__
from umlite.classes import PUBLISHED, AnatomyClass
from umlite.dicom.library import quietly
from umlite.errors import InputError
from umlite.files import output_error
from umlite.products.dicom.coding import own_schemes, segment_description
from umlite.products.dicom.frames import Slot, Survey, survey, write_bits, write_groups, write_labels
from umlite.products.dicom.identity import MAKER, Maker, made_uid, scan_date, seed, settle
from umlite.products.dicom.origin import CT_IMAGE, Origin, class_of, series_number
from umlite.results.segmentation import Segmentation

Encoding = Literal["binary", "labelmap"]
SERIES_OFFSET = 1000


@dataclass(frozen=True, eq=False)
class SegObject:
    """A DICOM-SEG that was written: what other objects refer to.

    header: its data set without frames. numbers: of its segments, by name of class.
    """

    header: Any
    numbers: dict[str, int]

    def segment(self, name: str) -> Any:
        """The description of a class's segment."""
        return next(item for item in self.header.SegmentSequence if item.SegmentNumber == self.numbers[name])


def write_seg(
    path: Path, result: Segmentation, origin: Origin, maker: Maker, encoding: Encoding = "binary"
) -> SegObject:
    """Write one object with a segment for each class that was found.

    Args:
        path: the file.
        result: the masks.
        origin: the series that was segmented.
        maker: the weights.
        encoding: "binary" keeps overlaps: a frame of bits for each segment and plane where it occurs. "labelmap"
            holds one number a voxel, painted like a NIfTI label map: small, and read by fewer programs.

    Where nothing was found, every class gets one empty frame, since an object without segments is not allowed.

    Raises:
        InputError: the series is another scan, or the frames are too many for one object.
        OutputError: the file cannot be written.
    """
    origin.check(result.scan)
    found = survey(result.masks, result.classes, origin.is_measured)
    classes = [c for c in result.classes if c.name in found.found] or list(result.classes)
    is_map = encoding == "labelmap"
    if is_map:
        classes.sort(key=lambda c: c.index)
    numbers = {c.name: c.index if is_map else place for place, c in enumerate(classes, start=1)}
    slots = _slots(found, numbers, is_map=is_map, first=int(np.argmax(origin.is_measured)))
    with quietly():
        header = _header(origin, maker, classes, numbers, found, encoding)
        header.NumberOfFrames = len(slots)
        try:
            with open(path, "w+b") as file:
                header.save_as(file, enforce_file_format=True)
                write_groups(file, origin, slots)
                if is_map:
                    write_labels(file, result.masks, classes, slots)
                else:
                    size = (int(header.Rows), int(header.Columns))
                    write_bits(file, result.masks, numbers, slots, size)
        except OSError as error:
            raise output_error(error, path) from error
    return SegObject(header, numbers)


def rehearse_seg(origin: Origin) -> None:
    """Raise InputError where what is known of patient and study cannot be written again."""
    nothing = Survey({}, False, "")
    try:
        with quietly():
            header = _header(origin, Maker("rehearsal", ""), PUBLISHED[:1], {PUBLISHED[0].name: 1}, nothing, "binary")
            header.save_as(io.BytesIO(), enforce_file_format=True)
    except Exception as error:  # the library raises anything where a value is out of order, and may quote the value
        raise InputError(
            f"{origin.series.label}: what its files say of patient or study cannot be written again "
            f"({type(error).__name__}). Write NIfTI, or export the series again."
        ) from error


def _slots(found: Survey, numbers: dict[str, int], *, is_map: bool, first: int) -> list[Slot]:
    """Frames in the order of their segments, then from plane to plane."""
    if not found.found:
        return [Slot(first, None)] if is_map else [Slot(first, number) for number in numbers.values()]
    if is_map:
        return [Slot(int(plane), None) for plane in found.any_planes]
    return [Slot(int(plane), number) for name, number in numbers.items() for plane in found.planes[name]]


def _header(
    origin: Origin,
    maker: Maker,
    classes: Sequence[AnatomyClass],
    numbers: dict[str, int],
    found: Survey,
    encoding: Encoding,
) -> Any:
    """The object without its frames: made by highdicom from one plane, since it would hold all of them in memory."""
    from highdicom.seg import Segmentation as Seg
    from pydicom.uid import ExplicitVRLittleEndian, RLELossless
    from pydicom.valuerep import format_number_as_ds

    stand_in = origin.stand_in()
    stand_in.SOPClassUID = CT_IMAGE  # of one plane, also where the source holds several
    key = (*origin.key, encoding, found.digest, ",".join(numbers), *seed(maker))
    plane = np.zeros((1, stand_in.Rows, stand_in.Columns), np.uint16 if max(numbers.values()) > 255 else np.uint8)
    plane[0, 0, 0] = next(iter(numbers.values()))
    header = Seg(
        source_images=[stand_in],
        pixel_array=plane,
        segmentation_type=encoding.upper(),
        segment_descriptions=[
            segment_description(c, numbers[c.name], maker, made_uid("segment", *key, c.name)) for c in classes
        ],
        series_instance_uid=made_uid("seg series", *key),
        series_number=series_number(origin, SERIES_OFFSET),
        sop_instance_uid=made_uid("seg", *key),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=MAKER,
        software_versions=__version__,
        device_serial_number=maker.sha256[:16] or "0",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        coding_schemes=own_schemes(classes),
        content_label="UMLITE",
        content_description="Masks of organs and lesions",
        series_description=f"{MAKER} {maker.name}"[:64],
    )
    if encoding == "labelmap":
        header.file_meta.TransferSyntaxUID = RLELossless
    settle(header, scan_date(stand_in))
    del header.PixelData, header.PerFrameFunctionalGroupsSequence
    shared = header.SharedFunctionalGroupsSequence[0]
    if "SegmentIdentificationSequence" in shared:
        del shared.SegmentIdentificationSequence
    shared.PixelMeasuresSequence[0].SpacingBetweenSlices = format_number_as_ds(origin.between_slices_mm)
    header.SegmentsOverlap = "YES" if found.overlaps and encoding == "binary" else "NO"
    _name_dimensions(header, made_uid("dimensions", *key))
    _refer(header, origin)
    if maker.notice:
        header.ImageComments = maker.notice
    return header


def _name_dimensions(header: Any, uid: str) -> None:
    """Give the dimensions a UID of this object's content, in place of a random one."""
    for item in (*header.DimensionOrganizationSequence, *header.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid
    if "DimensionOrganizationType" in header:
        del header.DimensionOrganizationType


def _refer(header: Any, origin: Origin) -> None:
    """Name every slice of the series."""
    from pydicom.dataset import Dataset

    sources = {frame.header.instance_uid: class_of(frame) for frame in origin.series.frames}
    series = Dataset()
    series.SeriesInstanceUID = origin.series_uid
    series.ReferencedInstanceSequence = [_reference(kind, uid) for uid, kind in sources.items()]
    header.ReferencedSeriesSequence = [series]
    header.SourceImageSequence = [_reference(kind, uid) for uid, kind in sources.items()]


def _reference(class_uid: str, instance_uid: str) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = class_uid, instance_uid
    return item
