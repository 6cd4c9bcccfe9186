"""Tables of real patients: labels where they are, and what is found where nothing is."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from recipes.demo_weights import real_dice
from recipes.demo_weights.patients import LABELS, NEVER, Labels, Patient
from recipes.demo_weights.pictures import with_few_greys


def test_weights_stand_side_by_side(
    small_weights: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    affine, box = np.diag([3.0, 3.0, 3.0, 1.0]), np.zeros((60, 50, 40), np.int16)
    box[10:50, 10:40] = 60
    labels = np.zeros(box.shape, np.uint8)
    labels[20:30, 20:30, 10:20] = 2
    nib.save(nib.Nifti1Image(box - 100, affine), data / "ct.nii.gz")
    nib.save(nib.Nifti1Image(labels, affine), data / "labels.nii.gz")
    measured = Patient("one", "", "ct.nii.gz", "MIT", NEVER, {"liver": Labels("labels.nii.gz", (2,))}, ("bladder",))
    monkeypatch.setattr(real_dice, "PATIENTS", (measured,))
    report = tmp_path / "report.json"
    table = real_dice.measure_patients([small_weights, small_weights], data, report).splitlines()
    rows = json.loads(report.read_text())[str(small_weights)]
    assert [r["name"] for r in rows][:2] == ["liver", real_dice.ABSENT]
    assert rows[0]["true_ml"] == 27.0
    assert all(len(line.split("|")) == len(table[0].split("|")) for line in table[2:])
    assert {r["trained"] for r in rows} == {NEVER, LABELS}  # the last is the fit of example_ct


def test_pictures_keep_their_colours() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[0], pixels[1], pixels[2] = (201, 120, 33), (31, 31, 31), (35, 35, 35)
    small = np.asarray(with_few_greys(Image.fromarray(pixels)).convert("RGB"))
    assert small[0, 0].tolist() == [201, 120, 33]
    assert small[1, 0].tolist() == small[2, 0].tolist() == [36, 36, 36]
