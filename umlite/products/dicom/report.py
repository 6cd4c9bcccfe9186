"""Measurements as a DICOM structured report (TID 1500): a group for each organ and each lesion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umlite import __version__
from umlite.classes import AnatomyClass
from umlite.concepts import Code, category_of, concept_of
from umlite.dicom.frames import Frame
from umlite.dicom.library import quietly
from umlite.files import output_error
from umlite.products.dicom.coding import (
    ARTIFICIAL_INTELLIGENCE,
    ATTENUATION,
    CT,
    DEVICE,
    HU,
    LONG_AXIS,
    MEAN,
    ML,
    MM,
    SHORT_AXIS,
    VOLUME,
    VOXEL_SUM,
    coded,
    own_schemes,
    site_of,
)
from umlite.products.dicom.identity import MAKER, Maker, digest_of, made_uid, scan_date, seed, settle
from umlite.products.dicom.origin import Origin, class_of, series_number
from umlite.products.dicom.segmentation import SegObject
from umlite.results.lesions import Lesion
from umlite.results.segmentation import Segmentation
from umlite.results.statistics import ClassStatistics, Statistics

SERIES_OFFSET = 2000
_DECIMALS = 3
_SLICE_AXIS = 2
"""The scan's axis across planes of the source."""


@dataclass(frozen=True, eq=False)
class _Context:
    """What every group needs. slices: data sets of the slices that groups name, by UID."""

    result: Segmentation
    found: Statistics
    origin: Origin
    maker: Maker
    seg: SegObject
    slices: dict[str, Any]


def write_report(
    path: Path, result: Segmentation, found: Statistics, origin: Origin, maker: Maker, seg: SegObject
) -> None:
    """Write the volume and mean HU of each organ and lesion that was found, and the diameters of lesions.

    Args:
        path: the file.
        result: the masks.
        found: their statistics.
        origin: the series that was segmented.
        maker: the weights.
        seg: the DICOM-SEG of the same masks, whose segments the groups name.

    Raises:
        OutputError: the file cannot be written.
    """
    context = _Context(result, found, origin, maker, seg, {})
    with quietly():
        document = _document(context)
        settle(document, scan_date(origin.stand_in()))
        try:
            document.save_as(path, enforce_file_format=True)
        except OSError as error:
            raise output_error(error, path) from error


def _document(context: _Context) -> Any:
    from highdicom import sr

    groups = [group for c in context.result.classes if c.name in context.seg.numbers for group in _groups(context, c)]
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=made_uid("device", *seed(context.maker)),
        name=MAKER,
        manufacturer_name=MAKER,
        model_name=context.maker.name[:64],
        serial_number=__version__,
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=sr.ObserverContext(coded(DEVICE), device)),
        procedure_reported=coded(CT),
        imaging_measurements=groups or None,
    )
    key = (context.seg.header.SOPInstanceUID, digest_of(content[0]))
    return sr.ComprehensiveSR(
        evidence=[context.origin.stand_in(), context.seg.header, *context.slices.values()],
        content=content,
        series_instance_uid=made_uid("report series", *key),
        series_number=series_number(context.origin, SERIES_OFFSET),
        sop_instance_uid=made_uid("report", *key),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=MAKER,
        software_versions=__version__,
        coding_schemes=own_schemes(context.result.classes),
        is_complete=True,
        series_description=f"{MAKER} {context.maker.name}"[:64],
    )


def _groups(context: _Context, c: AnatomyClass) -> Iterator[Any]:
    """The groups of a class: one for an organ, one for each lesion."""
    if c.kind == "tumor":
        for lesion in context.found.lesions:
            if lesion.class_name == c.name:
                yield _group(context, c, lesion.id, _of_lesion(context, lesion), lesion.host)
        return
    row = next(row for row in context.found.classes if row.name == c.name)
    if row.hu is not None:
        yield _group(context, c, c.name, _of_organ(row, row.hu.mean))


def _group(context: _Context, c: AnatomyClass, name: str, measurements: list[Any], host: str | None = None) -> Any:
    from highdicom import sr

    seg = context.seg
    site, side = site_of(c, host)
    segment = seg.segment(c.name)
    uid = segment.TrackingUID if name == c.name else made_uid("lesion", segment.TrackingUID, name)
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=uid, identifier=name),
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=seg.header.SOPClassUID,
            sop_instance_uid=seg.header.SOPInstanceUID,
            segment_number=seg.numbers[c.name],
            source_series=sr.SourceSeriesForSegmentation(context.origin.series_uid),
        ),
        finding_category=coded(category_of(c)),
        finding_type=coded(concept_of(c).type),
        finding_sites=[sr.FindingSite(site, side)],
        algorithm_id=_algorithm(context.maker),
        measurements=measurements,
    )


def _algorithm(maker: Maker) -> Any:
    from highdicom import sr

    words = [f"{name}={value}" for name, value in maker.parameters.items()]
    return sr.AlgorithmIdentification(
        name="Universal Model",
        version=__version__,
        parameters=[*words, *filter(None, [maker.notice])],
        family=coded(ARTIFICIAL_INTELLIGENCE),
        manufacturer=MAKER,
    )


def _of_organ(row: ClassStatistics, mean_hu: float) -> list[Any]:
    return [
        _measurement(VOLUME, row.volume_ml, ML, method=VOXEL_SUM),
        _measurement(ATTENUATION, mean_hu, HU, derivation=MEAN),
    ]


def _of_lesion(context: _Context, lesion: Lesion) -> list[Any]:
    images = _slices(context, lesion)
    return [
        _measurement(VOLUME, lesion.volume_ml, ML, method=VOXEL_SUM),
        _measurement(ATTENUATION, lesion.mean_hu, HU, derivation=MEAN),
        _measurement(LONG_AXIS, lesion.axial_diameter_mm, MM, images=images),
        _measurement(SHORT_AXIS, lesion.perpendicular_mm, MM, images=images),
    ]


def _measurement(
    name: Code,
    value: float,
    unit: Code,
    *,
    method: Code | None = None,
    derivation: Code | None = None,
    images: list[Any] | None = None,
) -> Any:
    from highdicom import sr

    return sr.Measurement(
        name=coded(name),
        value=round(value, _DECIMALS),
        unit=coded(unit),
        method=coded(method) if method else None,
        derivation=coded(derivation) if derivation else None,
        referenced_images=images or None,
    )


def _slices(context: _Context, lesion: Lesion) -> list[Any]:
    """The slice in which the diameters of a lesion were measured; none where it is no plane of the source."""
    from highdicom import sr

    frame = key_frame(context.origin, context.found, lesion)
    if frame is None:
        return []
    uid, kind = frame.header.instance_uid, class_of(frame)
    context.slices[uid] = context.origin.stand_in(frame)
    numbers = [frame.index + 1] if frame.pixels.frames > 1 else None
    return [sr.SourceImageForMeasurement(kind, uid, numbers)]


def key_frame(origin: Origin, found: Statistics, lesion: Lesion) -> Frame | None:
    """The source's plane in which a lesion's diameters lie; None where that is no plane of the source."""
    return origin.frame(lesion.diameter_slice) if found.slice_axis == _SLICE_AXIS else None
