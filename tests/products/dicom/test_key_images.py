"""Key images of a phantom's lesions: valid, upright as they were acquired, and named by a note."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from support.dicom import AXES, Shot, phantom_hu, write_series
from support.dicom_objects import MAKER, check_by_dciodvfy, only_series, result_of
from umlite.classes import PUBLISHED
from umlite.products.dicom.key_images import KeyImagePaths, write_key_images
from umlite.products.dicom.lesion_pictures import MOST_LESIONS
from umlite.products.dicom.origin import origin_of
from umlite.results.statistics import Statistics, statistics

HU = phantom_hu((24, 20, 12))
COLOR = next(c.color for c in PUBLISHED if c.name == "liver_tumor")


def lesions(count: int = 2) -> dict[str, np.ndarray]:
    """Lesions of different sizes, two planes apart, in the corner of the first column and row."""
    mask = np.zeros(HU.shape, bool)
    for number in range(count):
        mask[1 : 4 - number % 2, 1:3, 1 + 2 * number] = True
    return {"liver_tumor": mask}


def make(folder: Path, masks: dict[str, np.ndarray]) -> tuple[KeyImagePaths, Statistics]:
    series = only_series(folder)
    result = result_of(series, masks)
    found = statistics(result)
    paths = KeyImagePaths(*(folder.parent / f"{name}.dcm" for name in ("images", "montage", "note")))
    write_key_images(paths, result, found, origin_of(series), MAKER)
    return paths, found


@pytest.mark.parametrize("axes", ["axial", "axial_flip_both", "coronal"])
def test_slices_are_as_acquired_with_outlines(tmp_path: Path, axes: str) -> None:
    shot = Shot(*AXES[axes])
    paths, found = make(write_series(tmp_path / "series", HU, shot), lesions())
    for path in paths.all:
        assert not check_by_dciodvfy(path)
    images = pydicom.dcmread(paths.images)
    assert images.NumberOfFrames == len(found.lesions) == 2
    pixels = images.pixel_array
    expected = {"axial": ["L", "P"], "axial_flip_both": ["R", "A"], "coronal": ["L", "F"]}
    assert list(images.PatientOrientation) == expected[axes]
    for frame in pixels:
        rows, columns = np.nonzero((frame == COLOR).all(axis=2))
        assert len(rows)
        assert columns.mean() < frame.shape[1] / 4
        assert rows.mean() < frame.shape[0] / 4


def test_one_lesion_is_one_frame(tmp_path: Path) -> None:
    paths, _ = make(write_series(tmp_path / "series", HU), lesions(1))
    assert not check_by_dciodvfy(paths.images)
    assert pydicom.dcmread(paths.images).NumberOfFrames == 1


def test_the_note_names_images_and_the_slices_of_the_scan(tmp_path: Path) -> None:
    paths, found = make(write_series(tmp_path / "series", HU), lesions())
    named = {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in pydicom.dcmread(paths.note).ContentSequence
        if "ReferencedSOPSequence" in item
    }
    slices = {f"{Shot().series}.{1 + lesion.diameter_slice}" for lesion in found.lesions}
    captures = {pydicom.dcmread(path).SOPInstanceUID for path in (paths.images, paths.montage)}
    assert named == slices | captures


def test_the_largest_lesions_get_pictures(tmp_path: Path) -> None:
    mask = np.zeros(HU.shape, bool)
    mask[::3, ::4, ::4] = True
    mask[1, 0, 0] = True
    paths, found = make(write_series(tmp_path / "series", HU), {"liver_tumor": mask})
    assert len(found.lesions) > MOST_LESIONS
    images = pydicom.dcmread(paths.images)
    assert images.NumberOfFrames == MOST_LESIONS
    montage = pydicom.dcmread(paths.montage)
    assert (montage.Columns, montage.Rows) == (5 * 256, 4 * round(images.Rows / 2))


def test_no_patient_is_named_in_pixels_and_the_same_result_gets_the_same_bytes(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series", HU)
    paths, _ = make(folder, lesions())
    first = [path.read_bytes() for path in paths.all]
    assert [path.read_bytes() for path in make(folder, lesions())[0].all] == first
    other = write_series(tmp_path / "other", HU, Shot(extra={"PatientName": "Another^Name", "PatientID": "77"}))
    pixels = pydicom.dcmread(paths.images).pixel_array
    np.testing.assert_array_equal(pydicom.dcmread(make(other, lesions())[0].images).pixel_array, pixels)
    assert pydicom.dcmread(paths.images).BurnedInAnnotation == "NO"
