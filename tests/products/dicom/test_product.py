"""`umlite segment` to DICOM objects: the same masks as NIfTI, errors before the computation, no names of patients."""

from __future__ import annotations

import json
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet
from typer.testing import CliRunner, Result

from support.dicom import Shot, as_nifti, phantom_hu, write_series
from support.dicom_objects import check_by_dciodvfy

HU = phantom_hu((24, 22, 14))
CLASSES = "kidneys,liver,prostate,liver_tumor"


@pytest.fixture
def segment(small_weights: Path):
    def run(*arguments: object) -> Result:
        from umlite.cli import app

        words = ["segment", *arguments, "--weights", small_weights, "-c", CLASSES]
        return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})

    return run


@pytest.fixture
def study(tmp_path: Path) -> Path:
    shot = Shot(tilt_degrees=15, extra={"PatientName": "Secret^Person", "PatientID": "ID4711", "PatientSex": "F"})
    return write_series(tmp_path / "study", HU, shot)


def test_masks_are_those_of_nifti(segment, study: Path, tmp_path: Path) -> None:
    assert segment(study, "-o", tmp_path / "masks").exit_code == 0
    assert segment(study, "-o", tmp_path / "seg.dcm").exit_code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["masks", "seg.dcm", "study"]
    seg = hd.seg.segread(tmp_path / "seg.dcm")
    slices = sorted(map(pydicom.dcmread, study.iterdir()), key=lambda one: int(one.InstanceNumber))
    pixels = seg.get_pixels_by_source_instance(
        [one.SOPInstanceUID for one in slices], assert_missing_frames_are_empty=True
    )
    found = {seg.get_segment_description(n).tracking_id: pixels[..., n - 1] for n in seg.segment_numbers}
    assert len(found) > 3
    for file in (tmp_path / "masks").glob("*.nii.gz"):
        mask = np.asarray(nib.load(file).dataobj)
        name = file.name.removesuffix(".nii.gz")
        np.testing.assert_array_equal(found[name].transpose(2, 1, 0) if name in found else np.zeros(1), mask)


def test_all_objects_in_one_command(segment, study: Path, tmp_path: Path) -> None:
    result = segment(study, "--format", "dicom-seg", "-o", tmp_path / "out", "--sr", "--key-images", "--json")
    assert result.exit_code == 0, result.output
    names = [f"study{part}.dcm" for part in ("", "_key_images", "_key_montage", "_key_note", "_report")]
    files = {path.name: path for path in (tmp_path / "out").iterdir()}
    assert sorted(files) == sorted([*names, "study_manifest.json"])
    for name in names:
        check_by_dciodvfy(files[name])
        assert (pydicom.dcmread(files[name]).PatientName, pydicom.dcmread(files[name]).PatientID) == (
            *("Secret^Person", "ID4711"),
        )
    (scan,) = json.loads(result.stdout)["scans"]
    assert any("shows the uterus" in warning for warning in scan["warnings"])
    said = result.stdout + result.stderr + files["study_manifest.json"].read_text() + "".join(files)
    assert "Secret" not in said
    assert "ID4711" not in said


@pytest.mark.parametrize("named", ["", "DICOMDIR"])
def test_a_folder_off_a_cd(segment, tmp_path: Path, named: str) -> None:
    def localizer(data: Dataset, _k: int) -> None:
        data.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    loose = write_series(tmp_path / "loose", HU, Shot(tilt_degrees=-15))
    write_series(loose, HU[:, :, :1], Shot(series="2.25.5", number=1), edit=localizer)
    assert segment(loose, "-o", tmp_path / "first.dcm", "--sr").exit_code == 0
    disk = FileSet()
    for path in (*loose.iterdir(), tmp_path / "first.dcm", tmp_path / "first_report.dcm"):
        disk.add(path)
    disk.write(tmp_path / "cd")
    (tmp_path / "cd" / "AUTORUN.INF").write_text("[autorun]")
    result = segment(tmp_path / "cd" / named, "-o", tmp_path / "seg.dcm")
    assert result.exit_code == 0, result.output
    assert "its modality is SEG" in result.stderr
    assert "its modality is SR" in result.stderr
    assert "its image type is LOCALIZER" in result.stderr
    assert (tmp_path / "seg.dcm").read_bytes() == (tmp_path / "first.dcm").read_bytes()


def test_series_of_one_study_are_told_apart(segment, study: Path, tmp_path: Path) -> None:
    write_series(study, HU, Shot(series="2.25.7", number=4, origin=(0, 0, 500)))
    assert segment(study, "--format", "dicom-seg", "-o", tmp_path / "out").exit_code == 0
    made = [pydicom.dcmread(path) for path in sorted((tmp_path / "out").glob("*.dcm"))]
    assert [one.SeriesNumber for one in made] == [1002, 1004]
    assert len({one.SOPInstanceUID for one in made} | {one.SeriesInstanceUID for one in made}) == 4
    assert len({one.StudyInstanceUID for one in made}) == 1


def test_label_map_encoding(segment, study: Path, tmp_path: Path) -> None:
    assert segment(study, "-o", tmp_path / "labels.nii.gz").exit_code == 0
    assert segment(study, "-o", tmp_path / "labels.dcm", "--seg", "labelmap").exit_code == 0
    data = pydicom.dcmread(tmp_path / "labels.dcm")
    assert data.SegmentationType == "LABELMAP"
    labels = np.asarray(nib.load(tmp_path / "labels.nii.gz").dataobj)
    planes = [k for k in range(14) if labels[:, :, k].any()]
    np.testing.assert_array_equal(data.pixel_array.transpose(2, 1, 0), labels[:, :, planes])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-o", "seg.dcm"], "of a DICOM series only"),
        (["-o", "out", "--key-images"], "of a DICOM series only"),
        (["-o", "out", "--sr"], "expected the format dicom-seg, found masks"),
        (["-o", "out", "--seg", "labelmap"], "expected the format dicom-seg, found masks"),
        (["-o", "seg.dcm", "--seg", "fractional"], "expected binary or labelmap"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_computation(
    segment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], words: str
) -> None:
    scan = as_nifti(tmp_path / "scan.nii.gz", HU, Shot().affine())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("umlite.api.Segmenter.prepare", None)
    result = segment(scan, *options)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
    assert [p.name for p in tmp_path.iterdir()] == ["scan.nii.gz"]


def test_what_the_library_cannot_write_again_is_found_before_the_computation(
    segment, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("umlite.products.dicom.coding.coded", None)
    result = segment(study, "-o", tmp_path / "seg.dcm")
    assert result.exit_code == 2
    assert "cannot be written again" in result.stderr
    assert not (tmp_path / "seg.dcm").exists()
