"""A run again, from its manifest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import pytest

from support.command_line import umlite
from support.samples import make_scan


@pytest.fixture
def manifest(scan_file: Path, small_weights: Path, tmp_path: Path) -> Path:
    out = tmp_path / "out"
    umlite("segment", scan_file, "--weights", small_weights, "-c", "liver,spleen", "--statistics", "-o", out)
    return out / "manifest.json"


def test_the_same_files_come_again(manifest: Path, tmp_path: Path) -> None:
    found = json.loads(umlite("reproduce", manifest, "--json"))
    assert found["passed"]
    assert sorted(found["same"]) == [
        "lesions.csv",
        "liver.nii.gz",
        "spleen.nii.gz",
        "statistics.csv",
        "statistics.json",
    ]
    assert found["different"] == found["changed"] == []
    umlite("reproduce", manifest, "-o", tmp_path / "again")
    again, first = tmp_path / "again" / "liver.nii.gz", manifest.parent / "liver.nii.gz"
    assert again.read_bytes() == first.read_bytes()


def test_one_file_of_a_label_map(scan_file: Path, small_weights: Path, tmp_path: Path) -> None:
    asked = ("segment", scan_file, "--weights", small_weights, "-c", "liver", "-o", tmp_path / "labels.nii")
    umlite(*asked, "--manifest", tmp_path / "run.json")
    assert json.loads(umlite("reproduce", tmp_path / "run.json", "--json"))["same"] == ["labels.nii"]


def test_a_difference_is_exit_code_1(manifest: Path) -> None:
    data = json.loads(manifest.read_text())
    data["outputs"][0]["sha256"] = "0" * 64
    data["versions"]["torch"] = "1.0"
    manifest.write_text(json.dumps(data))
    told = umlite("reproduce", manifest.parent, code=1)
    assert "DIFFERENT" in told
    assert "NOT reproduced" in told
    assert "1.0" in told


def test_the_scan_may_have_moved_but_not_changed(manifest: Path, tmp_path: Path) -> None:
    data = json.loads(manifest.read_text())
    moved = tmp_path / "elsewhere" / "scan.nii.gz"
    moved.parent.mkdir()
    shutil.copy(data["input"]["path"], moved)
    data["input"]["path"] = str(tmp_path / "gone.nii.gz")
    manifest.write_text(json.dumps(data))
    assert "is not at" in umlite("reproduce", manifest, code=2)
    umlite("reproduce", manifest, "--scan", moved)
    nib.save(make_scan((20, 20, 20), seed=3), moved)
    assert "is not the scan of this run" in umlite("reproduce", manifest, "--scan", moved, code=2)


def test_other_weights_are_not_taken(manifest: Path) -> None:
    data = json.loads(manifest.read_text())
    data["weights"]["sha256"] = "1" * 64
    manifest.write_text(json.dumps(data))
    assert "are not here" in umlite("reproduce", manifest, code=2)


@pytest.mark.parametrize(
    "damage",
    [
        lambda _data: [],
        lambda data: {**data, "schema": 99},
        lambda data: {**data, "outputs": [{}]},
        lambda data: {**data, "outputs": None},
        lambda data: {**data, "request": {"overlap": 7}},
        lambda data: {**data, "engine": {}},
        lambda data: {**data, "input": {"path": 3}},
        lambda data: {**data, "weights": None},
        lambda data: {**data, "wanted": {"format": "unknown", "statistics": "yes"}},
    ],
)
def test_damaged_manifests(manifest: Path, damage) -> None:
    manifest.write_text(json.dumps(damage(json.loads(manifest.read_text()))))
    assert "manifest" in umlite("reproduce", manifest, code=2)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"null"])
def test_files_that_are_no_manifest(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_bytes(content)
    assert "is no run manifest" in umlite("reproduce", tmp_path / "m.json", code=2)
