"""Teaching a class: a network without one of its classes learns it again, and nothing else of it changes."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from support.command_line import umlite
from support.samples import make_scan
from umlite import Segmenter
from umlite.errors import InputError, RequestError
from umlite.extension.extend import held_out_places
from umlite.extension.labelled import find_labelled
from umlite.extension.measured import interval
from umlite.extension.samples import Sampler, mask_on_model
from umlite.volume.preparation import restore
from umlite.weights.loading import load_tensors
from umlite.weights.packs import read_pack
from umlite.weights.surgery import drop


@pytest.fixture(scope="module")
def base(small_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network without the hepatic vessels, a class whose masks no rule cleans."""
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    drop(small_weights, "hepatic_vessel", path)
    return path


@pytest.fixture(scope="module")
def cases(small_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six scans with the masks that the whole network gives."""
    folder = tmp_path_factory.mktemp("cases")
    segmenter = Segmenter(small_weights, device="cpu")
    for n in range(6):
        case = folder / f"case{n}"
        (case / "segmentations").mkdir(parents=True)
        nib.save(make_scan((40, 36, 30), seed=n), case / "ct.nii.gz")
        mask = segmenter.segment(case / "ct.nii.gz", "hepatic_vessel").mask("hepatic_vessel")
        affine = nib.load(case / "ct.nii.gz").affine
        nib.save(nib.Nifti1Image(mask.astype(np.uint8), affine), case / "segmentations" / "bronchi.nii.gz")
    return folder


def test_a_class_comes_back_and_all_others_stay(base: Path, cases: Path, tmp_path: Path) -> None:
    pack = tmp_path / "vessel.pack.safetensors"
    asked = ("extend", cases, "--name", "hepatic vessel", "--name-in-data", "bronchi", "--weights", base, "-o", pack)
    told = json.loads(umlite(*asked, "--license", "CC0", "--json").split("\n{", 1)[1].join(("{", "")))
    assert told["classes"] == ["hepatic_vessel"]
    assert len(told["trained_on"]) == 5
    assert told["held_out_dice"][0] > 0.7  # features of random numbers
    compared = told["unchanged"]
    assert compared["passed"]
    assert compared["windows"] == 6  # one of every scan
    assert compared["sampled_windows"] > 6
    assert compared["sampled_logits"] % compared["classes"] == 0
    card = read_pack(pack).card
    assert card.license == "CC0"
    assert card.measured["hepatic_vessel"][0] == pytest.approx(told["held_out_dice"][0], abs=1e-3)
    windows = torch.rand(1, 1, 16, 16, 16)
    plain, extended = Segmenter(base, device="cpu"), Segmenter(base, packs=[pack], device="cpu")
    assert torch.equal(plain.window_logits(windows), extended.window_logits(windows, list(plain.classes.names)))
    first = read_pack(pack)
    assert "exists already" in umlite(*asked, code=2)
    umlite(*asked, "--overwrite", "--license", "CC0")
    again = read_pack(pack)  # from the features that were kept, with the same seed
    assert torch.equal(first.weight, again.weight)
    assert torch.equal(first.bias, again.bias)


def test_an_interrupted_run_goes_on_from_its_features(base: Path, cases: Path, tmp_path: Path) -> None:
    pack = tmp_path / "vessel.pack.safetensors"
    asked = ("extend", cases, "--name", "bronchi", "--weights", base, "-o", pack)
    command = [sys.executable, "-m", "umlite", *map(str, asked)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stderr
        while "Features of case2" not in (line := running.stderr.readline()):
            assert line, "it ended before it was interrupted"
        running.send_signal(signal.SIGINT)
        told = running.stderr.read()
    assert running.returncode == 130
    assert f"kept in {pack}.work: the same command goes on" in told
    assert not pack.exists()
    kept = len(list(Path(f"{pack}.work").glob("*.safetensors")))
    assert kept in (2, 3, 4)  # the signal may come a little later
    assert umlite(*asked).count("kept from an earlier run") == kept
    assert pack.exists()


def test_a_class_is_corrected(base: Path, cases: Path, tmp_path: Path) -> None:
    pack = tmp_path / "liver.pack.safetensors"
    asked = ("extend", cases, "--name", "liver", "--name-in-data", "bronchi", "--weights", base, "-o", pack)
    assert "replace it to correct it" in umlite(*asked, code=2)
    umlite(*asked, "--replace")
    names = Segmenter(base, packs=[pack], device="cpu").classes.names
    assert (names[5], names[-1]) == ("liver@base", "liver")
    unknown = ("extend", cases, "--name", "heart", "--name-in-data", "bronchi", "--weights", base, "--replace")
    assert "add it instead" in umlite(*unknown, "-o", tmp_path / "x.safetensors", code=2)


def test_a_mask_reaches_the_models_grid(base: Path, cases: Path) -> None:
    segmenter = Segmenter(base, device="cpu")
    (labelled, *_), _ = find_labelled(cases, "bronchi")
    scan, mask = labelled.read()
    volume = segmenter.engine.prepare(scan)
    back = restore(mask_on_model(mask, volume).astype(np.uint8), volume.frame)
    inside = restore(np.ones(volume.frame.shape, np.uint8), volume.frame) > 0
    assert np.array_equal(back[inside] > 0, mask[inside])


def test_samples_stand_for_all_voxels(base: Path, cases: Path, tmp_path: Path) -> None:
    segmenter = Segmenter(base, device="cpu")
    (labelled, *_), _ = find_labelled(cases, "bronchi")
    scan, mask = labelled.read()
    volume = segmenter.engine.prepare(scan)
    samples = Sampler(segmenter, "0" * 64, tmp_path, 0).of(labelled, "ab" * 32)
    assert float(samples.weight.sum()) == pytest.approx(volume.voxels.numel(), rel=1e-3)
    on_model = mask_on_model(mask, volume)
    assert float(samples.weight[samples.inside].sum()) == pytest.approx(on_model.sum(), rel=1e-3)
    kept = list(tmp_path.glob("*.safetensors"))
    assert len(kept) == 1
    kept[0].write_bytes(b"damaged")
    assert torch.equal(Sampler(segmenter, "0" * 64, tmp_path, 0).of(labelled, "ab" * 32).feature, samples.feature)


def layout(cases: Path, folder: Path, kind: str) -> Path:
    """The first two cases in another layout."""
    for n in (0, 1):
        scan, mask = cases / f"case{n}" / "ct.nii.gz", cases / f"case{n}" / "segmentations" / "bronchi.nii.gz"
        places = {
            "nnunet": (folder / "imagesTr" / f"c{n}_0000.nii.gz", folder / "labelsTr" / f"c{n}.nii.gz"),
            "table": (folder / f"s{n}.nii.gz", folder / f"m{n}.nii.gz"),
            "flat": (folder / f"c{n}" / "ct.nii.gz", folder / f"c{n}" / "bronchi.nii.gz"),
        }[kind]
        for source, place in zip((scan, mask), places, strict=True):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(source.read_bytes())
    if kind == "nnunet":
        (folder / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "Bronchi": 1}}))
    if kind == "table":
        (folder / "scans.csv").write_text("scan,mask,label\ns0.nii.gz,m0.nii.gz,1\ns1.nii.gz,m1.nii.gz,\n")
        return folder / "scans.csv"
    return folder


@pytest.mark.parametrize("kind", ["nnunet", "table", "flat"])
def test_layouts(cases: Path, tmp_path: Path, kind: str) -> None:
    found, _ = find_labelled(layout(cases, tmp_path, kind), "bronchi")
    assert len(found) == 2
    expected = [one.read()[1] for one in find_labelled(cases, "bronchi")[0][:2]]
    assert all(np.array_equal(one.read()[1], mask) for one, mask in zip(found, expected, strict=True))


def test_data_that_cannot_be_used(base: Path, cases: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="Labelled are: bronchi"):
        find_labelled(cases, "heart")
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(InputError, match="nnU-Net"):
        find_labelled(tmp_path, "heart")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="columns scan, mask"):
        find_labelled(tmp_path / "t.csv", "heart")
    table = layout(cases, tmp_path / "t", "table")
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.eye(4)), tmp_path / "t" / "m1.nii.gz")
    out = tmp_path / "x.pack.safetensors"
    told = umlite("extend", table, "--name", "heart", "--weights", base, "-o", out, code=2)
    assert "s1 is left out" in told
    assert "found 1 and 1 that cannot be used" in told
    assert not out.exists()
    assert "above 0 and below 1" in umlite("extend", table, "--name", "a", "-o", out, "--held-out", "1", code=2)


def test_scans_that_show_the_class_judge() -> None:
    """Early stopping and Dice would mean nothing on scans without it."""
    for seed in range(20):
        held = held_out_places([True, False, False, True, False, False], 0.25, seed)
        assert len(held & {0, 3}) == 1
        assert len(held) == 2
        assert 0 not in held_out_places([True, False, False], 0.5, seed)


def test_where_nothing_finds_the_class_a_linear_probe_is_kept(base: Path, cases: Path, tmp_path: Path) -> None:
    """A lesion of a few voxels in the scan that judges: learning would stop at random."""
    shutil.copytree(cases, tmp_path / "cases")
    (judge,) = held_out_places([True] * 6, 0.2, seed=0)
    path = tmp_path / f"cases/case{judge}/segmentations/bronchi.nii.gz"
    mask = np.zeros_like(np.asarray((image := nib.load(path)).dataobj))
    mask[20, 18, 15] = 1
    nib.save(nib.Nifti1Image(mask, image.affine), path)
    pack = tmp_path / "b.pack.safetensors"
    told = umlite("extend", tmp_path / "cases", "--name", "bronchi", "--weights", base, "-o", pack)
    assert "a linear probe, is kept" in told.replace("\n", " ")
    assert not read_pack(pack).weight.any()  # the same head whatever the image


def test_the_interval_of_a_mean() -> None:
    mean, low, high = interval([0.5, 0.7, 0.9])
    assert mean == pytest.approx(0.7)
    assert 0.5 <= low < mean < high <= 0.9


def test_text_shows_its_nearest_classes_first(base: Path, cases: Path, tmp_path: Path) -> None:
    tensors, card = load_tensors(base)
    row = tensors["generator.embedding"][card.classes.index("spleen")]
    np.save(tmp_path / "text.npy", row.numpy())
    asked = (
        "extend",
        cases,
        "--name",
        "bronchi",
        "--weights",
        base,
        "-o",
        tmp_path / "b.pack.safetensors",
        "--embedding",
    )
    told = umlite(*asked, tmp_path / "text.npy")
    assert "Nearest classes by text: spleen (1.00)" in told.replace("\n", " ")
    assert "From text: Dice" in told
    np.save(tmp_path / "wide.npy", np.zeros(7, np.float32))
    assert "[7] were given" in umlite(*asked, tmp_path / "wide.npy", "--overwrite", code=2)
