"""`umlite series`, and `umlite segment` on DICOM: the same masks as from NIfTI, and words about the rest."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom.dataset import Dataset
from typer.testing import CliRunner, Result

from support.dicom import Shot, as_nifti, phantom_hu, write_series
from umlite.cli import app

HU = phantom_hu((24, 22, 14))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})


def localizer(data: Dataset, _k: int) -> None:
    data.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A CT, a localizer, an MR and a text file."""
    folder = tmp_path / "study"
    write_series(folder, HU)
    write_series(folder, HU[:, :, :1], Shot(series="2.25.5", number=1), edit=localizer)
    write_series(folder, HU, Shot(series="2.25.6", number=3, extra={"Modality": "MR"}))
    (folder / "readme.txt").write_text("hello")
    return folder


@pytest.mark.parametrize("tilt", [0.0, 15.0, -15.0])
def test_masks_equal_those_of_the_same_voxels_as_nifti(tmp_path: Path, small_weights: Path, tilt: float) -> None:
    shot = Shot(tilt_degrees=tilt, spacing_mm=(4.1, 3.9, 5.0))
    write_series(tmp_path / "case", HU, shot)
    as_nifti(tmp_path / "case.nii.gz", HU, shot.affine())
    for scan, place in (("case", "a"), ("case.nii.gz", "b")):
        result = run("segment", tmp_path / scan, "-o", tmp_path / place, "--weights", small_weights)
        assert result.exit_code == 0, result.output
    files = sorted(file.name for file in (tmp_path / "b").glob("*.nii.gz"))
    assert len(files) == 32
    found = 0
    for file in files:
        ours, theirs = nib.load(tmp_path / "a" / file), nib.load(tmp_path / "b" / file)
        np.testing.assert_array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))
        np.testing.assert_array_equal(ours.affine, theirs.affine)
        found += int(np.asarray(ours.dataobj).sum())
    assert found


def test_what_is_passed_over_is_said(study: Path, tmp_path: Path, small_weights: Path) -> None:
    result = run("segment", study, "-o", tmp_path / "out", "-c", "liver", "--weights", small_weights)
    assert result.exit_code == 0, result.output
    assert "series 1 (CT, Phantom) was passed over: its image type is LOCALIZER" in result.stderr
    assert "series 3 (MR, Phantom) was passed over: its modality is MR" in result.stderr
    assert "readme.txt is not DICOM" in result.stderr
    assert (tmp_path / "out" / "liver.nii.gz").is_file()


def test_several_series_get_a_folder_each(study: Path, tmp_path: Path, small_weights: Path) -> None:
    write_series(study, HU, Shot(series="2.25.7", number=4, origin=(0, 0, 500)))
    result = run("segment", study, "-o", tmp_path / "out", "-c", "liver", "--weights", small_weights, "--json")
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["scans"]) == 2
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["study_series2", "study_series4"]


def test_a_series_is_chosen_by_number_or_uid(study: Path, tmp_path: Path, small_weights: Path) -> None:
    for wanted in ("2", Shot().series, "all"):
        out = tmp_path / f"out{wanted}"
        chosen = run("segment", study, "--series", wanted, "-o", out, "-c", "liver", "--weights", small_weights)
        assert chosen.exit_code == 0, chosen.output
    for wanted, words in (("9", "no series 9"), ("3", "cannot be segmented: its modality is MR")):
        refused = run("segment", study, "--series", wanted, "-o", tmp_path / "x", "--weights", small_weights)
        assert refused.exit_code == 2
        assert words in refused.stderr
        assert not (tmp_path / "x").exists()


def test_files_named_one_by_one_are_one_series(study: Path, tmp_path: Path, small_weights: Path) -> None:
    files = sorted(study.glob("2_*.dcm"))
    result = run("segment", *files, "-o", tmp_path / "out", "-c", "liver", "--weights", small_weights)
    assert result.exit_code == 0, result.output


def test_gaps_are_filled_on_request(study: Path, tmp_path: Path, small_weights: Path) -> None:
    next(path for path in study.glob("2_0005.dcm")).unlink()
    command = ["segment", study, "-o", tmp_path / "out", "-c", "liver", "--weights", small_weights]
    refused = run(*command)
    assert refused.exit_code == 2
    assert "slice is missing" in refused.stderr
    assert "--fill-gaps" in refused.stderr
    assert not (tmp_path / "out").exists()
    filled = run(*command, "--fill-gaps")
    assert filled.exit_code == 0, filled.output
    assert "1 of 14 slices were interpolated" in filled.stderr
    command[3] = tmp_path / "again"
    told = json.loads(run(*command, "--fill-gaps", "--json").stdout)["scans"][0]["checks"]
    assert "filled" in {check["code"] for check in told}


def test_a_folder_without_a_ct_fails_alone(scan_file: Path, tmp_path: Path, small_weights: Path) -> None:
    (tmp_path / "none").mkdir()
    result = run(
        "segment", tmp_path / "none", scan_file, "-o", tmp_path / "o", "-c", "liver", "--weights", small_weights
    )
    assert result.exit_code == 1
    assert "holds no DICOM files" in result.stderr
    assert (tmp_path / "o" / "scan" / "liver.nii.gz").is_file()


def test_the_list_names_no_patient_unless_asked(study: Path) -> None:
    listed = run("series", study)
    assert listed.exit_code == 0
    assert "Phantom" in listed.stdout
    assert "20260102" in listed.stdout
    assert "Test" not in listed.stdout
    assert "Phantom^Test" in run("series", study, "--patients").stdout
    data = json.loads(run("series", study, "--json").stdout)
    assert [one["number"] for one in data["series"] if one["taken"]] == [2]
    assert "patient_name" not in data["series"][0]
    assert data["series"][1]["spacing_mm"] == [4, 4, 4]


def test_a_path_without_dicom(tmp_path: Path) -> None:
    result = run("series", tmp_path, "--json")
    assert result.exit_code == 2
    assert "holds no DICOM" in json.loads(result.stdout)["error"]
