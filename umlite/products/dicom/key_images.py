"""Key images: slices of lesions as secondary capture, a montage of them, and a note that names them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from umlite import __version__
from umlite.dicom.library import quietly
from umlite.files import output_error
from umlite.products.dicom.coding import OF_INTEREST, coded
from umlite.products.dicom.identity import MAKER, Maker, made_uid, scan_date, seed, settle
from umlite.products.dicom.lesion_pictures import LesionPicture, directions, lesion_pictures, montage
from umlite.products.dicom.origin import Origin, series_number
from umlite.results.segmentation import Segmentation
from umlite.results.statistics import Statistics

IMAGES_OFFSET, NOTE_OFFSET = 3000, 4000
_MULTI_FRAME_COLOR = "1.2.840.10008.5.1.4.1.1.7.4"
_PAGE_NUMBERS = 0x00182001


@dataclass(frozen=True)
class KeyImagePaths:
    """Files: all lesions' slices, the montage, and the note."""

    images: Path
    montage: Path
    note: Path

    @property
    def all(self) -> tuple[Path, Path, Path]:
        return self.images, self.montage, self.note


def write_key_images(
    paths: KeyImagePaths, result: Segmentation, found: Statistics, origin: Origin, maker: Maker
) -> None:
    """Write all three. There must be a lesion.

    Raises:
        InputError: the series is another scan, or it cannot be read again.
        OutputError: a file cannot be written.
    """
    origin.check(result.scan)
    pictures = lesion_pictures(result, found)
    with quietly():
        captures = _captures(pictures, result, origin, maker)
        objects = (*captures, _note([*captures, *_sources(pictures, origin)], origin, maker))
        for path, data in zip(paths.all, objects, strict=True):
            settle(data, scan_date(origin.stand_in()))
            try:
                data.save_as(path, enforce_file_format=True)
            except OSError as error:
                raise output_error(error, path) from error


def _captures(pictures: Sequence[LesionPicture], result: Segmentation, origin: Origin, maker: Maker) -> tuple[Any, Any]:
    """All slices as one object of several frames, and the montage as one of a frame."""
    frames = np.stack([picture.pixels for picture in pictures])
    digest = hashlib.sha256(frames.tobytes()).hexdigest()
    key = (*origin.key, digest, *seed(maker))
    slices = _capture(frames[0], 1, key, result, origin, maker)
    slices.SOPClassUID = slices.file_meta.MediaStorageSOPClassUID = _MULTI_FRAME_COLOR
    slices.NumberOfFrames = len(frames)
    if len(frames) > 1:
        slices.FrameIncrementPointer = _PAGE_NUMBERS
        slices.PageNumberVector = list(range(1, len(frames) + 1))
    slices.PixelData = frames.tobytes() + b"\0" * (frames.size % 2)
    return slices, _capture(montage(pictures), 2, key, result, origin, maker)


def _capture(
    pixels: np.ndarray, number: int, key: tuple[str, ...], result: Segmentation, origin: Origin, maker: Maker
) -> Any:
    from highdicom.sc import SCImage

    stand_in = origin.stand_in()
    capture = SCImage(
        pixel_array=pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=directions(result.affine),
        study_instance_uid=origin.study_uid,
        series_instance_uid=made_uid("key images", *key),
        series_number=series_number(origin, IMAGES_OFFSET),
        sop_instance_uid=made_uid("key image", str(number), *key),
        instance_number=number,
        manufacturer=MAKER,
        manufacturer_model_name=MAKER,
        software_versions=__version__,
        patient_id=stand_in.PatientID,
        patient_name=stand_in.PatientName,
        patient_birth_date=stand_in.PatientBirthDate,
        patient_sex=stand_in.PatientSex,
        accession_number=stand_in.AccessionNumber,
        study_id=stand_in.StudyID,
        study_date=stand_in.StudyDate or None,
        study_time=stand_in.StudyTime or None,
        referring_physician_name=stand_in.ReferringPhysicianName,
        specific_character_set=stand_in.get("SpecificCharacterSet"),
        series_description=f"{MAKER} lesions, {maker.name}"[:64],
    )
    capture.copy_patient_and_study_information(stand_in)
    capture.BurnedInAnnotation, capture.ImageLaterality = "NO", "U"
    if maker.notice:
        capture.ImageComments = maker.notice
    return capture


def _sources(pictures: Sequence[LesionPicture], origin: Origin) -> list[Any]:
    """The scan's own slices that the pictures show; none of an object of several frames, which the note cannot name."""
    found = []
    for plane in sorted({picture.plane for picture in pictures}):
        frame = origin.frame(plane)
        if frame is not None and frame.pixels.frames == 1:
            found.append(origin.stand_in(frame))
    return found


def _note(objects: Sequence[Any], origin: Origin, maker: Maker) -> Any:
    from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument

    key = objects[0].SOPInstanceUID
    words = f"Lesions found by {MAKER} {__version__} with {maker.name}. {maker.notice}".strip()
    return KeyObjectSelectionDocument(
        evidence=[*objects],
        content=KeyObjectSelection(coded(OF_INTEREST), referenced_objects=list(objects), description=words),
        series_instance_uid=made_uid("note series", key),
        series_number=series_number(origin, NOTE_OFFSET),
        sop_instance_uid=made_uid("note", key),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=MAKER,
        software_versions=__version__,
        series_description=f"{MAKER} lesions, {maker.name}"[:64],
    )
