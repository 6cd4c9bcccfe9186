"""The demonstration, with small weights: what it writes and what it says."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from support.dicom import phantom_hu, write_series
from support.samples import small_card, small_model
from umlite.cli import app
from umlite.weights.loading import save_model

NOTICE = "For trying the software only."


@pytest.fixture(scope="module")
def marked_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = small_model()
    path = tmp_path_factory.mktemp("weights") / "marked.safetensors"
    card = small_card(model, notice=NOTICE, spacing_mm=(8.0, 8.0, 8.0), window=(32, 32, 32))
    save_model(path, model.state_dict(), card)
    return path


def test_a_phantom(marked_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("umlite.demo.SPACING_MM", (8.0, 8.0, 8.0))
    out = tmp_path / "demo"
    result = CliRunner().invoke(app, ["demo", "-o", str(out), "--weights", str(marked_weights), "--json"])
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["notice"] == NOTICE
    assert set(data["dice"]) <= {c["name"] for c in data["classes"]}
    assert "liver" in data["dice"]
    assert all(0 <= value <= 1 for value in data["dice"].values())
    scan, mask = nib.load(out / "scan.nii.gz"), nib.load(out / "masks" / "liver.nii.gz")
    assert scan.shape == mask.shape
    assert np.array_equal(scan.affine, mask.affine)
    assert Image.open(out / "picture.png").size[0] > 600


def test_a_scan_of_the_users(marked_weights: Path, scan_file: Path, tmp_path: Path) -> None:
    arguments = ["demo", str(scan_file), "-o", str(tmp_path / "out"), "--weights", str(marked_weights)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert NOTICE in result.stderr
    assert "Dice" not in result.stdout
    assert not (tmp_path / "out" / "scan.nii.gz").exists()
    assert (tmp_path / "out" / "picture.png").exists()


def test_a_missing_scan(marked_weights: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["demo", "absent.nii", "-o", str(tmp_path / "x"), "--weights", str(marked_weights)]
    )
    assert result.exit_code == 2
    assert "does not exist" in result.stderr


def test_a_dicom_series(marked_weights: Path, tmp_path: Path) -> None:
    folder, out = write_series(tmp_path / "series", phantom_hu()), tmp_path / "out"
    result = CliRunner().invoke(app, ["demo", str(folder), "-o", str(out), "--weights", str(marked_weights)])
    assert result.exit_code == 0, result.output
    assert (out / "picture.png").exists()
