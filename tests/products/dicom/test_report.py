"""The structured report of a phantom: valid, and read back by highdicom and dcmqi with the statistics' numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest

from support.dicom import AXES, Shot, enhanced_data, phantom_hu, save, write_series
from support.dicom_objects import MAKER, check_by_dciodvfy, needs_dciodvfy, only_series, result_of, run
from umlite.products.dicom.origin import origin_of
from umlite.products.dicom.report import write_report
from umlite.products.dicom.segmentation import write_seg
from umlite.results.statistics import Statistics, statistics

HU = phantom_hu((24, 20, 12))


def masks() -> dict[str, np.ndarray]:
    """Two organs, a tumour of two lesions in one of them, and a class that was not found."""
    found = {name: np.zeros(HU.shape, bool) for name in ("right_kidney", "liver", "kidney_tumor", "spleen")}
    found["right_kidney"][2:9, 3:12, 2:8] = True
    found["liver"][12:22, 3:16, 1:11] = True
    found["kidney_tumor"][4:8, 5:8, 4:7] = True
    found["kidney_tumor"][3:5, 10:11, 3:4] = True
    return found


def make_report(folder: Path) -> tuple[Path, Statistics]:
    series = only_series(folder)
    origin, result = origin_of(series), result_of(series, masks())
    found = statistics(result)
    seg = write_seg(folder.parent / "seg.dcm", result, origin, MAKER)
    write_report(folder.parent / "report.dcm", result, found, origin, MAKER, seg)
    return folder.parent / "report.dcm", found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Statistics]:
    return make_report(write_series(tmp_path_factory.mktemp("report") / "series", HU))


def values(group: hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations) -> dict[str, float]:
    return {one.name.meaning: one.value for one in group.get_measurements()}


@needs_dciodvfy
def test_it_is_valid(report: tuple[Path, Statistics]) -> None:
    assert not check_by_dciodvfy(report[0])


def test_a_group_for_each_organ_and_lesion_with_its_numbers(report: tuple[Path, Statistics]) -> None:
    path, found = report
    content = hd.sr.srread(path).content
    groups = {group.tracking_identifier: group for group in content.get_volumetric_roi_measurement_groups()}
    assert list(groups) == ["right_kidney", "liver", "kidney_tumor_1", "kidney_tumor_2"]
    liver = next(row for row in found.classes if row.name == "liver")
    assert liver.hu is not None
    numbers = {"Volume": round(liver.volume_ml, 3), "Attenuation Coefficient": round(liver.hu.mean, 3)}
    assert values(groups["liver"]) == numbers
    lesion = found.lesions[0]
    assert values(groups["kidney_tumor_1"]) == {
        "Volume": round(lesion.volume_ml, 3),
        "Attenuation Coefficient": round(lesion.mean_hu, 3),
        "Long axis": round(lesion.axial_diameter_mm, 3),
        "Short axis": round(lesion.perpendicular_mm, 3),
    }


def test_groups_name_their_segments_and_what_they_found(report: tuple[Path, Statistics]) -> None:
    path, _ = report
    seg = hd.seg.segread(path.parent / "seg.dcm")
    groups = hd.sr.srread(path).content.get_volumetric_roi_measurement_groups()
    named = [group.referenced_segment for group in groups]
    assert [list(one.referenced_segment_numbers) for one in named] == [[1], [2], [3], [3]]
    assert groups[0].tracking_uid == seg.get_segment_description(1).tracking_uid
    assert len({group.tracking_uid for group in groups}) == 4
    tumor = groups[2]
    assert (tumor.finding_type.value, tumor.finding_category.value) == ("108369006", "49755003")
    assert tumor.finding_sites[0].value.value == "64033007"
    assert tumor.finding_sites[0].laterality.meaning == "Right"  # of the organ that it lies in
    assert {one.referenced_sop_instance_uid for one in named} == {seg.SOPInstanceUID}


def test_diameters_name_the_slice_that_they_were_measured_in(report: tuple[Path, Statistics]) -> None:
    path, found = report
    group = hd.sr.srread(path).content.get_volumetric_roi_measurement_groups(tracking_uid=None)[2]
    long_axis = next(one for one in group.get_measurements() if one.name.meaning == "Long axis")
    (image,) = long_axis.referenced_images
    assert image.referenced_sop_instance_uid == f"{Shot().series}.{1 + found.lesions[0].diameter_slice}"


def test_dcmqi_reads_the_same_numbers(report: tuple[Path, Statistics], tmp_path: Path) -> None:
    path, found = report
    run("tid1500reader", "--inputDICOM", path, "--outputMetadata", tmp_path / "a.json")
    groups = json.loads((tmp_path / "a.json").read_text())["Measurements"]
    assert [group["TrackingIdentifier"] for group in groups] == [
        *("right_kidney", "liver", "kidney_tumor_1", "kidney_tumor_2")
    ]
    assert groups[0]["Laterality"]["CodeMeaning"] == "Right"
    volumes = [float(group["measurementItems"][0]["value"]) for group in groups]
    assert volumes[0] == pytest.approx(found.classes[0].volume_ml, abs=1e-3)
    assert volumes[2:] == pytest.approx([lesion.volume_ml for lesion in found.lesions], abs=1e-3)


def test_planes_that_are_not_axial_are_not_named(tmp_path: Path) -> None:
    row, column = AXES["coronal"]
    path, _ = make_report(write_series(tmp_path / "series", HU, Shot(row, column)))
    assert not check_by_dciodvfy(path)
    for group in hd.sr.srread(path).content.get_volumetric_roi_measurement_groups():
        assert not any(one.referenced_images for one in group.get_measurements())


def test_an_enhanced_scan_is_named_by_frame(tmp_path: Path) -> None:
    order = [3, 0, 11, 5, 1, 2, 4, 6, 7, 8, 9, 10]
    (tmp_path / "series").mkdir()
    save(tmp_path / "series" / "a.dcm", enhanced_data(HU, Shot(), order))
    path, found = make_report(tmp_path / "series")
    assert not check_by_dciodvfy(path)
    group = hd.sr.srread(path).content.get_volumetric_roi_measurement_groups()[2]
    (image,) = group.get_measurements()[2].referenced_images
    assert order[image.referenced_frame_numbers[0] - 1] == found.lesions[0].diameter_slice


def test_the_same_result_gets_the_same_bytes(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series", HU)
    first = make_report(folder)[0].read_bytes()
    assert make_report(folder)[0].read_bytes() == first


def test_other_numbers_get_another_uid(report: tuple[Path, Statistics], tmp_path: Path) -> None:
    path, found = report
    series = only_series(path.parent / "series")
    origin, result = origin_of(series), result_of(series, masks())
    seg = write_seg(tmp_path / "seg.dcm", result, origin, MAKER)
    elsewhere = replace(found, lesions=tuple(replace(lesion, host=None) for lesion in found.lesions))
    write_report(tmp_path / "other.dcm", result, elsewhere, origin, MAKER, seg)
    first, other = pydicom.dcmread(path), pydicom.dcmread(tmp_path / "other.dcm")
    assert first.SOPInstanceUID != other.SOPInstanceUID
    assert seg.header.SOPInstanceUID == pydicom.dcmread(path.parent / "seg.dcm").SOPInstanceUID


def test_it_says_who_made_it(report: tuple[Path, Statistics]) -> None:
    data, content = pydicom.dcmread(report[0]), report[0].read_bytes()
    assert f"weights_sha256={MAKER.sha256}".encode() in content
    assert MAKER.notice.encode() in content
    assert (data.CompletionFlag, data.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert data.ContentDate == "20260102"
