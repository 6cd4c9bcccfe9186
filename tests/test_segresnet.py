"""A SegResNet from its checkpoint to masks, with every verb that takes weights."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from support.command_line import run, umlite
from support.packs import saved_pack
from support.samples import make_scan, published_state, small_card, small_model
from umlite import Segmenter
from umlite.classes import PUBLISHED
from umlite.weights.loading import read_card, save_model

ORGANS = tuple(c.name for c in PUBLISHED[:25])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("segresnet") / "net.safetensors"
    model = small_model("segresnet", classes=25)
    save_model(path, model.state_dict(), small_card(model))
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "organs.pth"
    torch.save({"net": published_state(small_model("segresnet", classes=25))}, path)
    return path


def test_convert_asks_for_the_names(checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "organs.safetensors"
    convert = ("weights", "convert", checkpoint, "-o", output, "--no-check")
    message = umlite(*convert, code=2)
    assert "--class-names" in message
    assert "wrong order" in message
    assert not output.exists()
    told = umlite(*convert, "--class-names", "published")
    assert "segresnet, 25 classes: spleen, right_kidney" in told
    assert "on your word" in told
    in_another_order = tmp_path / "other.safetensors"
    names = ",".join(reversed(ORGANS))
    told = umlite("weights", "convert", checkpoint, "-o", in_another_order, "--no-check", "--class-names", names)
    assert "on your word" not in told
    assert read_card(in_another_order).classes == ORGANS[::-1]
    card = read_card(output)
    assert (card.classes, card.network.backbone.kind, card.window) == (ORGANS, "segresnet", (96, 96, 96))
    shown = json.loads(umlite("weights", "show", output, "--json"))
    assert (shown["backbone"], shown["generator"]) == ("segresnet", "linear")


def test_segment(weights: Path, scan_file: Path, tmp_path: Path) -> None:
    names = ("liver", "aorta", "celiac_trunk")
    options = ("--weights", weights, "-c", ",".join(names), "--device", "cpu", "--quiet")
    expected = Segmenter(weights, device="cpu", engine="reference").segment(scan_file, names)
    for engine in (("--engine", "reference"), ("--kernels", "torch"), ()):
        folder = tmp_path / "".join(engine).replace("-", "")
        run("segment", scan_file, "-o", folder, *options, *engine)
        for name in names:
            mask = np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj) > 0
            assert 0 < mask.mean() < 1, name
            assert (mask != expected.mask(name)).mean() < 1e-3, name


def test_the_other_verbs(weights: Path, scan_file: Path, tmp_path: Path) -> None:
    assert json.loads(run("verify", scan_file, "--weights", weights, "-c", "liver", "--json").stdout)["passed"]
    plan = json.loads(run("plan", scan_file, "--weights", weights, "-c", "liver", "--json").stdout)
    assert plan["seconds"] > 0
    against = ("--against", "monai", "--reference-windows", 1, "--repeats", 1)
    measured = json.loads(run("bench", scan_file, "--weights", weights, "-c", "liver", *against, "--json").stdout)
    assert measured["reference"]["windows_run"] == 1
    assert "celiac_trunk" in umlite("classes", "--weights", weights)
    run("info", "--layers", "--weights", weights)
    left, named = tmp_path / "left.safetensors", tmp_path / "named.safetensors"
    umlite("weights", "drop", weights, "liver,spleen", "-o", left)
    umlite("weights", "rename", left, "pancreas", "sweetbread", "-o", named)
    before = Segmenter(weights, device="cpu", engine="reference")
    after = Segmenter(named, device="cpu", engine="reference")
    assert after.classes.names == tuple(
        "sweetbread" if name == "pancreas" else name for name in ORGANS if name not in ("liver", "spleen")
    )
    x = torch.rand(1, 1, 16, 16, 16)
    assert torch.equal(after.window_logits(x, "sweetbread"), before.window_logits(x, "pancreas"))


def test_classes_cannot_be_added(weights: Path, scan_file: Path, small_weights: Path, tmp_path: Path) -> None:
    pack = saved_pack(tmp_path, small_weights, ["heart"])
    message = umlite("segment", scan_file, "--weights", weights, "--with", pack, "-o", tmp_path / "out", code=2)
    assert "is a segresnet" in message
    assert "is a segresnet" in umlite("weights", "merge", weights, pack, "-o", tmp_path / "merged.safetensors", code=2)
    labelled = tmp_path / "labelled"
    for case in "abc":
        (labelled / case).mkdir(parents=True)
        nib.save(make_scan(), labelled / case / "ct.nii.gz")
        (labelled / case / "segmentations").mkdir()
        mask = nib.Nifti1Image(np.ones((40, 36, 30), np.uint8), make_scan().affine)
        nib.save(mask, labelled / case / "segmentations" / "heart.nii.gz")
    output = tmp_path / "new.pack.safetensors"
    message = umlite("extend", labelled, "--weights", weights, "--name", "heart", "-o", output, code=2)
    assert "is a segresnet" in message
    assert not output.exists()
