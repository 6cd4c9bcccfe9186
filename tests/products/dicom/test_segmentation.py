"""DICOM-SEG of a phantom stored in every direction, read back by other programs on the source's own planes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import Dataset

from support.dicom import AXES, Shot, enhanced_data, phantom_hu, save, write_series
from support.dicom_objects import (
    MAKER,
    check_by_dciodvfy,
    frames_of_seg,
    only_series,
    overlapping_masks,
    result_of,
    run,
)
from umlite.class_table import ClassTable
from umlite.classes import PUBLISHED
from umlite.errors import InputError
from umlite.masks.bitmask import BitMask
from umlite.masks.on_scan import ResampledMasks
from umlite.products.dicom.origin import origin_of
from umlite.products.dicom.segmentation import SegObject, write_seg
from umlite.results.label_map import paint_label_map

HU = phantom_hu((21, 17, 12))
MASKS = overlapping_masks(HU.shape)
FOUND = [name for name, mask in MASKS.items() if mask.any()]
SHOTS = {
    **{name: Shot(row, column, spacing_mm=(4.0, 3.5, 5.0)) for name, (row, column) in AXES.items()},
    "feet first": Shot(position="FFS"),
    "prone": Shot(*AXES["axial_flip_both"], position="HFP"),
    "tilt +15": Shot(tilt_degrees=15),
    "tilt -15": Shot(tilt_degrees=-15),
}


def make_seg(folder: Path, encoding: str = "binary", *, fill_gaps: bool = False, masks=None) -> tuple[Path, SegObject]:
    series = only_series(folder, fill_gaps=fill_gaps)
    path = folder.parent / f"{encoding}.dcm"
    result = result_of(series, MASKS if masks is None else masks)
    return path, write_seg(path, result, origin_of(series), MAKER, encoding)


def check_frames(path: Path, shot: Shot, planes: list[int]) -> None:
    """Every class has the right voxels at the right place in each plane, by GDCM's decoding; no frame is empty."""
    pixels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))) > 0
    if rest := pixels.size % 8:  # GDCM leaves the pixels of a last byte that is not full as its memory had them
        pixels.reshape(-1)[-rest:] = pydicom.dcmread(path).pixel_array.reshape(-1)[-rest:]
    frames = frames_of_seg(path, pixels)
    assert list(frames) == FOUND
    for name, at in frames.items():
        expected = [k for k in planes if MASKS[name][:, :, k].any()]
        assert len(at) == len(expected)
        for (place, frame), k in zip(at.items(), expected, strict=True):
            np.testing.assert_allclose(place, np.array(shot.origin) + k * shot.step, atol=1e-4)
            np.testing.assert_array_equal(frame, MASKS[name][:, :, k], err_msg=f"{name}, plane {k}")


@pytest.mark.parametrize("name", SHOTS)
def test_every_direction(tmp_path: Path, name: str) -> None:
    shot = SHOTS[name]
    path, _ = make_seg(write_series(tmp_path / "series", HU, shot))
    check_frames(path, shot, list(range(12)))
    read = hd.seg.segread(path)
    slices = sorted(map(pydicom.dcmread, (tmp_path / "series").iterdir()), key=lambda one: int(one.InstanceNumber))
    for k, one in enumerate(slices):
        pixels = read.get_pixels_by_source_instance([one.SOPInstanceUID])[0]
        for place, found in enumerate(FOUND):
            np.testing.assert_array_equal(pixels[:, :, place].T, MASKS[found][:, :, k])
    shared = read.SharedFunctionalGroupsSequence[0]
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    np.testing.assert_allclose(orientation, np.array(slices[0].ImageOrientationPatient, float), atol=1e-9)
    assert list(shared.PixelMeasuresSequence[0].PixelSpacing) == list(slices[0].PixelSpacing)
    places = {
        tuple(group.PlanePositionSequence[0].ImagePositionPatient) for group in read.PerFrameFunctionalGroupsSequence
    }
    assert places <= {tuple(one.ImagePositionPatient) for one in slices}
    assert not check_by_dciodvfy(path)


@pytest.mark.parametrize("encoding", ["binary", "labelmap"])
@pytest.mark.parametrize("name", ["axial", "axial_flip_both", "coronal", "sagittal"])
def test_dcmqi_finds_the_same_voxels_in_the_same_place(tmp_path: Path, name: str, encoding: str) -> None:
    shot = SHOTS[name]
    path, seg = make_seg(write_series(tmp_path / "series", HU, shot), encoding)
    run("segimage2itkimage", "--inputDICOM", path, "--outputDirectory", tmp_path, "-t", "nii", "-p", "a")
    labels = paint_label_map(BitMask.from_masks(MASKS), [c for c in PUBLISHED if c.name in MASKS])
    seen: dict[int, np.ndarray] = {}
    for file in tmp_path.glob("a-*.nii.gz"):
        theirs = nib.load(file)
        ours = nib.Nifti1Image(np.zeros(HU.shape, np.uint8), shot.affine())
        to_ours = np.linalg.inv(ours.affine) @ theirs.affine
        values = np.asarray(theirs.dataobj)
        for number in set(np.unique(values).tolist()) - {0}:
            places = np.rint(nib.affines.apply_affine(to_ours, np.argwhere(values == number))).astype(int)
            mask = np.zeros(HU.shape, bool)
            mask[tuple(places.T)] = True
            seen[number] = mask
    assert len(seen) == len(seg.numbers)
    for found, number in seg.numbers.items():
        index = next(c.index for c in PUBLISHED if c.name == found)
        expected = MASKS[found] if encoding == "binary" else labels == index
        np.testing.assert_array_equal(seen[number], expected, err_msg=found)


def test_missing_slices_have_no_frames(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series", HU, names="plain")
    (folder / "2_0004.dcm").unlink()
    (folder / "2_0007.dcm").unlink()
    path, _ = make_seg(folder, fill_gaps=True)
    check_frames(path, Shot(), [k for k in range(12) if k not in (4, 7)])
    assert not check_by_dciodvfy(path)
    assert origin_of(only_series(folder, fill_gaps=True)).remarks[0].startswith("2 of 12 planes were interpolated")


def test_planes_that_none_was_measured_in_are_refused(tmp_path: Path) -> None:
    def stretch(data: Dataset, k: int) -> None:
        x, y, z = map(float, data.ImagePositionPatient)
        data.ImagePositionPatient = [x, y, z + 1.5 * max(0, k - 6)]

    series = only_series(write_series(tmp_path / "series", HU, edit=stretch), fill_gaps=True)
    with pytest.raises(InputError, match="most planes of the filled scan are none that was measured"):
        origin_of(series)


@pytest.mark.parametrize("encoding", ["binary", "labelmap"])
def test_enhanced_multi_frame(tmp_path: Path, encoding: str) -> None:
    order = [3, 0, 11, 5, 1, 2, 4, 6, 7, 8, 9, 10]
    (tmp_path / "series").mkdir()
    save(tmp_path / "series" / "a.dcm", enhanced_data(HU, Shot(), order))
    path, _ = make_seg(tmp_path / "series", encoding)
    data = pydicom.dcmread(path)
    for group in data.PerFrameFunctionalGroupsSequence:
        place = round((group.PlanePositionSequence[0].ImagePositionPatient[2] - 15.5) / 4)
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        assert source.ReferencedSOPInstanceUID == f"{Shot().series}.1"
        assert order[source.ReferencedFrameNumber - 1] == place
    assert len(data.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 1
    if encoding == "binary":
        check_frames(path, Shot(), list(range(12)))
        assert not check_by_dciodvfy(path)


def test_a_label_map_is_that_of_nifti(tmp_path: Path) -> None:
    path, seg = make_seg(write_series(tmp_path / "series", HU), "labelmap")
    data = pydicom.dcmread(path)
    expected = paint_label_map(BitMask.from_masks(MASKS), [c for c in PUBLISHED if c.name in MASKS])
    np.testing.assert_array_equal(data.pixel_array.transpose(2, 1, 0), expected)
    assert seg.numbers == {c.name: c.index for c in PUBLISHED if c.name in FOUND}
    assert data.SegmentsOverlap == "NO"
    assert hd.seg.segread(path).get_volume(combine_segments=True).array.shape == (12, 17, 21)


def test_what_segments_say(tmp_path: Path) -> None:
    path, seg = make_seg(write_series(tmp_path / "series", HU))
    read = hd.seg.segread(path)
    assert seg.numbers == {name: number for number, name in enumerate(FOUND, start=1)}
    kidney, tumor = (read.get_segment_description(seg.numbers[name]) for name in ("right_kidney", "liver_tumor"))
    assert kidney.segment_label == "Right Kidney"
    kind = kidney.segmented_property_type
    assert (kind.value, kind.scheme_designator, kind.meaning) == ("64033007", "SCT", "Kidney")
    side = kind.SegmentedPropertyTypeModifierCodeSequence[0]
    assert (side.CodeValue, side.CodeMeaning) == ("24028007", "Right")
    assert kidney.segmented_property_category.value == "91723000"
    assert tumor.segmented_property_category.value == "49755003"
    assert tumor.anatomic_regions[0].value == "10200004"
    algorithm = kidney.algorithm_identification[0]
    assert MAKER.sha256 in algorithm.AlgorithmParameters
    assert hd.color.CIELabColor.from_dicom_value(kidney.RecommendedDisplayCIELabValue).to_rgb() == (50, 110, 255)
    assert read.SegmentsOverlap == "YES"
    assert read.ImageComments == MAKER.notice


def test_a_class_of_ones_own_has_a_private_code_that_is_explained(tmp_path: Path) -> None:
    series = only_series(write_series(tmp_path / "series", HU))
    result = result_of(series, {"liver": MASKS["liver"]})
    own = ClassTable(["thymus_and_surroundings"]).resolve(None)
    masks = ResampledMasks(BitMask.from_masks({own[0].name: MASKS["liver"]}), result.masks.frame)
    write_seg(tmp_path / "seg.dcm", replace(result, classes=own, masks=masks), origin_of(series), MAKER)
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    kind = data.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0]
    assert kind.LongCodeValue == "thymus_and_surroundings"
    assert kind.CodingSchemeDesignator == "99UMLITE"
    assert data.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99UMLITE"
    check_by_dciodvfy(tmp_path / "seg.dcm")  # warns of the private scheme


def test_nothing_found_is_an_empty_frame_for_each_class(tmp_path: Path) -> None:
    none = {name: np.zeros(HU.shape, bool) for name in ("liver", "spleen")}
    path, seg = make_seg(write_series(tmp_path / "series", HU), masks=none)
    data = pydicom.dcmread(path)
    assert data.NumberOfFrames == 2
    assert not data.pixel_array.any()
    assert list(seg.numbers) == ["liver", "spleen"]
    assert not check_by_dciodvfy(path)


@pytest.mark.parametrize("encoding", ["binary", "labelmap"])
def test_the_same_result_gets_the_same_bytes(tmp_path: Path, encoding: str) -> None:
    folder = write_series(tmp_path / "series", HU)
    path, _ = make_seg(folder, encoding)
    first, uid = path.read_bytes(), pydicom.dcmread(path).SOPInstanceUID
    make_seg(folder, encoding)
    assert path.read_bytes() == first
    other = MASKS | {"liver": MASKS["liver"] & (np.arange(21) > 0)[:, None, None]}
    make_seg(folder, encoding, masks=other)
    assert pydicom.dcmread(path).SOPInstanceUID != uid
    assert pydicom.dcmread(path).ContentDate == "20260102"
    for file in folder.iterdir():
        one = pydicom.dcmread(file)
        one.PatientName = "Corrected^Name"
        one.save_as(file)
    make_seg(folder, encoding)
    assert pydicom.dcmread(path).SOPInstanceUID != uid


def test_headers_with_values_out_of_order_are_carried_over_or_emptied(tmp_path: Path) -> None:
    def spoil(data: Dataset, _k: int) -> None:
        data.PatientSex, data.PatientID = "UNKNOWN", "P" * 70
        for keyword in ("StudyID", "AccessionNumber", "StudyTime"):
            delattr(data, keyword)
        data.add(pydicom.DataElement("PatientBirthDate", "DA", "1.1.1950", validation_mode=0))
        data.add(pydicom.DataElement("StudyDate", "DA", "2026-01-02", validation_mode=0))

        code = Dataset()
        code.CodeValue, code.CodeMeaning = "7", "a code without a scheme"
        data.ProcedureCodeSequence, data.ClinicalTrialTimePointDescription = [code], "baseline"

    with pytest.warns(UserWarning, match="value length"):
        folder = write_series(tmp_path / "series", HU, edit=spoil)
    path, _ = make_seg(folder)
    data = pydicom.dcmread(path)
    assert (data.PatientSex, data.PatientBirthDate, data.PatientID) == ("", "", "P" * 70)
    assert "ProcedureCodeSequence" not in data
    assert data.ClinicalTrialTimePointID == ""


@pytest.mark.parametrize(
    ("letters", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        ("latin-1", "Müller^Jörg"),
    ],
)
def test_names_keep_their_letters(tmp_path: Path, letters: str | list[str], name: str) -> None:
    extra = {"SpecificCharacterSet": letters, "PatientName": name}
    path, _ = make_seg(write_series(tmp_path / "series", HU, Shot(extra=extra)))
    data = pydicom.dcmread(path)
    assert data.PatientName == name
    assert data.SpecificCharacterSet in (letters, "ISO_IR 192")


def test_slices_that_nothing_can_refer_to_are_refused(tmp_path: Path) -> None:
    def share(data: Dataset, k: int) -> None:
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.{k // 2 + 1}"

    with pytest.raises(InputError, match="2 slices share one instance UID"):
        origin_of(only_series(write_series(tmp_path / "series", HU, edit=share)))


def test_another_series_is_refused(tmp_path: Path) -> None:
    series = only_series(write_series(tmp_path / "series", HU))
    other = only_series(write_series(tmp_path / "other", HU, Shot(origin=(0, 0, 0))))
    with pytest.raises(InputError, match="another scan than the one that was segmented"):
        write_seg(tmp_path / "seg.dcm", result_of(series, MASKS), origin_of(other), MAKER)
    assert not (tmp_path / "seg.dcm").exists()
