"""A class is added to a network of each backbone and each kind of controller, and behaves like all others."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from support.command_line import run, umlite
from support.samples import make_scan, small_card, small_model
from umlite import Segmenter
from umlite.extension import extend, learning
from umlite.weights.loading import save_model

SHAPE = (20, 18, 16)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scans whose brightest voxels are labelled."""
    folder = tmp_path_factory.mktemp("cases")
    for n in range(2):
        scan = make_scan(SHAPE, seed=n)
        (folder / f"case{n}").mkdir()
        nib.save(scan, folder / f"case{n}" / "ct.nii.gz")
        bright = (np.asarray(scan.dataobj) > 150).astype(np.uint8)
        nib.save(nib.Nifti1Image(bright, scan.affine), folder / f"case{n}" / "bright.nii.gz")
    return folder


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extend, "TRIAL_STEPS", 10)
    monkeypatch.setattr(learning, "LEAST_STEPS", 0)
    monkeypatch.setattr(learning, "PATIENCE", 1)


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("generator", ["shared", "embedding", "per_class"])
@pytest.mark.parametrize("backbone", ["unet", "swin_unetr"])
def test_a_class_is_added_and_nothing_else_changes(cases: Path, tmp_path: Path, backbone: str, generator: str) -> None:
    weights, pack = tmp_path / "base.safetensors", tmp_path / "bright.pack.safetensors"
    model = small_model(backbone, generator, classes=3)
    save_model(weights, model.state_dict(), small_card(model))
    told = umlite("extend", cases, "--name", "bright", "--weights", weights, "-o", pack, "--json")
    found = json.loads("{" + told.split("\n{", 1)[1])
    assert found["unchanged"]["passed"]
    assert len(found["held_out_dice"]) == 1  # features of random numbers and few steps: its value means nothing
    scan, added = cases / "case0" / "ct.nii.gz", ("--weights", weights, "--with", pack)
    umlite("segment", scan, *added, "-c", "bright,spleen", "-o", tmp_path / "out")
    umlite("segment", scan, "--weights", weights, "-c", "spleen", "-o", tmp_path / "plain")
    masks = [(tmp_path / folder / "spleen.nii.gz").read_bytes() for folder in ("out", "plain")]
    assert masks[0] == masks[1]
    assert json.loads(run("verify", scan, "--unchanged", *added, "--json").stdout)["passed"]
    native = np.asarray(nib.load(tmp_path / "out" / "bright.nii.gz").dataobj) > 0
    plain = Segmenter(weights, packs=[pack], device="cpu", engine="reference").segment(scan, "bright").mask("bright")
    assert native.any()
    assert (native != plain).sum() <= 2  # voxels on the edge, where sums are rounded differently
