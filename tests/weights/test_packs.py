"""Packs: added classes beside a network that does not change, and files that hold nothing of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from support.command_line import umlite
from support.packs import random_pack, saved_pack
from support.samples import small_card, small_model
from umlite import Segmenter
from umlite.errors import WeightsError
from umlite.kernels.dynamic_heads import dynamic_heads
from umlite.weights.loading import load_tensors, save_model
from umlite.weights.packs import KEY, network_sha256, read_pack, write_pack

NAMES = ("left_atrium", "thyroid_tumor")
ENGINES = (
    {"engine": "reference"},
    {"kernels": "torch"},
    {"kernels": "native"},
)


@pytest.fixture(scope="module", params=["shared", "embedding", "per_class"])
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base") / f"{request.param}.safetensors"
    model = small_model(generator=request.param)
    save_model(path, model.state_dict(), small_card(model))
    return path


@pytest.fixture
def pack(weights: Path, tmp_path: Path) -> Path:
    return saved_pack(tmp_path, weights, NAMES)


@pytest.mark.parametrize("options", ENGINES, ids=lambda o: "-".join(o.values()))
def test_logits_of_the_networks_own_classes_stay_the_same_to_the_bit(weights, pack, options: dict[str, str]) -> None:
    torch.manual_seed(3)
    windows = torch.rand(2, 1, 16, 16, 32)
    base, extended = (
        Segmenter(weights, device="cpu", **options),
        Segmenter(weights, packs=[pack], device="cpu", **options),
    )
    assert extended.classes.names == (*base.classes.names, *NAMES)
    before, after = base.window_logits(windows), extended.window_logits(windows)
    assert torch.equal(before, after[:, : before.shape[1]])
    mixed = ("thyroid_tumor", "liver", "left_atrium", "spleen")
    some = extended.window_logits(windows, mixed)
    for i, name in enumerate(mixed):
        head = after[:, extended.classes.head_of(name)]
        if "torch" in options.values():  # its matrix products round differently for other numbers of classes
            torch.testing.assert_close(some[:, i], head)
        else:
            assert torch.equal(some[:, i], head), name


def test_logits_of_added_classes_are_those_of_their_controllers(weights: Path, pack: Path) -> None:
    torch.manual_seed(4)
    windows = torch.rand(2, 1, 16, 16, 16)
    segmenter = Segmenter(weights, packs=[pack], device="cpu", engine="reference")
    model = segmenter.engine.model  # type: ignore[attr-defined]
    feature, image = model.features(windows)
    told = read_pack(pack)
    expected = dynamic_heads(feature, torch.einsum("ng,cpg->ncp", image, told.weight) + told.bias)
    found = segmenter.window_logits(windows, NAMES)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    native = Segmenter(weights, packs=[pack], device="cpu", kernels="native").window_logits(windows, NAMES)
    torch.testing.assert_close(native, found, rtol=1e-3, atol=1e-3)


def test_a_pack_holds_nothing_of_the_network(weights: Path, pack: Path) -> None:
    with safe_open(pack, "np") as file:
        assert sorted(file.keys()) == ["bias", "weight"]
    head = load_tensors(weights)[1].network.head
    assert pack.stat().st_size < 4 * len(NAMES) * head.parameters * (head.gap_width + 1) + 4096


def test_masks_statistics_and_names_of_added_classes(small_weights: Path, scan_file: Path, tmp_path: Path) -> None:
    pack = saved_pack(tmp_path, small_weights, NAMES)
    base, out = ("segment", scan_file, "--weights", small_weights), tmp_path / "out"
    umlite(*base, "--with", pack, "-c", "left_atrium,liver,thyroid_tumor", "--statistics", "-o", out)
    assert {p.name for p in out.glob("*.nii.gz")} == {"left_atrium.nii.gz", "liver.nii.gz", "thyroid_tumor.nii.gz"}
    rows = (out / "statistics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["left_atrium", "liver", "thyroid_tumor"]
    umlite(*base, "-c", "liver", "-o", tmp_path / "plain")
    assert (out / "liver.nii.gz").read_bytes() == (tmp_path / "plain" / "liver.nii.gz").read_bytes()
    told = json.loads(umlite("classes", "--weights", small_weights, "--with", pack, "--json"))
    assert [c["kind"] for c in told["classes"][-2:]] == ["organ", "tumor"]
    assert "left_atrium" in umlite(*base, "-c", "left_atrum", "--with", pack, "-o", tmp_path / "x", code=2)


def test_the_manifest_names_packs_and_the_run_is_reproduced(small_weights, scan_file, tmp_path) -> None:
    pack = saved_pack(tmp_path, small_weights, NAMES)
    asked = ("segment", scan_file, "--weights", small_weights, "--with", pack, "-c", "left_atrium", "-o")
    umlite(*asked, tmp_path / "out")
    manifest = tmp_path / "out" / "manifest.json"
    (told,) = json.loads(manifest.read_text())["weights"]["packs"]
    assert told["classes"] == list(NAMES)
    assert told["file"] == pack.name  # its folder is nobody's business
    assert json.loads(umlite("reproduce", manifest, "--with", pack, "--json"))["passed"]
    assert "Name its file. (--with)" in umlite("reproduce", manifest, code=2)
    shutil.copy(pack, tmp_path / "out")
    umlite("reproduce", manifest)
    write_pack(pack, random_pack(small_weights, NAMES, seed=7))
    (tmp_path / "out" / pack.name).unlink()
    assert "is not here" in umlite("reproduce", manifest, "--with", pack, code=2)


def test_a_pack_that_is_not_there_is_called_a_pack(small_weights: Path, scan_file: Path, tmp_path: Path) -> None:
    asked = ("segment", scan_file, "--weights", small_weights, "-o", tmp_path / "out", "--with")
    assert f"No pack {tmp_path / 'absent.pack.safetensors'}. Name a file" in umlite(
        *asked, tmp_path / "absent.pack.safetensors", code=2
    ).replace("\n", " ")
    assert "Expected a pack (.safetensors), found the folder" in umlite(*asked, tmp_path, code=2).replace("\n", " ")


def test_another_network_is_refused_and_another_name_is_not(small_weights: Path, tmp_path: Path) -> None:
    pack = saved_pack(tmp_path, small_weights, NAMES)
    tensors, card = load_tensors(small_weights)
    save_model(tmp_path / "renamed.safetensors", tensors, replace(card, name="other", license="none"))
    assert Segmenter(tmp_path / "renamed.safetensors", packs=[pack], device="cpu").classes.names[-2:] == NAMES
    tensors["head_input.2.bias"] = tensors["head_input.2.bias"] + 1e-3
    save_model(tmp_path / "changed.safetensors", tensors, card)
    with pytest.raises(WeightsError, match="was learned with another network"):
        Segmenter(tmp_path / "changed.safetensors", packs=[pack], device="cpu")


def test_a_pack_replaces_a_class_and_keeps_the_old_one(small_weights: Path, scan_file: Path, tmp_path: Path) -> None:
    pack = saved_pack(tmp_path, small_weights, ("liver",), replaces=("liver",))
    base = ("segment", scan_file, "--weights", small_weights)
    umlite(*base, "--with", pack, "-c", "liver,liver@base", "-o", tmp_path / "new")
    umlite(*base, "-c", "liver", "-o", tmp_path / "old")
    segmenter = Segmenter(small_weights, packs=[pack], device="cpu")
    plain = Segmenter(small_weights, device="cpu")
    windows = torch.rand(1, 1, 16, 16, 16)
    assert torch.equal(segmenter.window_logits(windows, "liver@base"), plain.window_logits(windows, "liver"))
    assert not torch.equal(segmenter.window_logits(windows, "liver"), plain.window_logits(windows, "liver"))
    taken = saved_pack(tmp_path / "b", small_weights, ("liver",))
    assert "has already" in umlite(*base, "--with", taken, "-o", tmp_path / "x", code=2)


@pytest.mark.parametrize("count", [1, 10, 200])
def test_many_added_classes(small_weights: Path, tmp_path: Path, count: int) -> None:
    pack = saved_pack(tmp_path, small_weights, [f"class_{n}" for n in range(count)])
    windows = torch.rand(1, 1, 16, 16, 16)
    logits = Segmenter(small_weights, packs=[pack], device="cpu").window_logits(windows)
    assert logits.shape[1] == 32 + count
    assert torch.equal(logits[:, :32], Segmenter(small_weights, device="cpu").window_logits(windows))


def test_classes_are_dropped_renamed_and_merged(small_weights: Path, tmp_path: Path) -> None:
    packs = [saved_pack(tmp_path, small_weights, names, seed=n) for n, names in enumerate((NAMES, ("heart",)))]
    umlite("weights", "merge", *packs, "-o", tmp_path / "both.pack.safetensors")
    both = read_pack(tmp_path / "both.pack.safetensors")
    assert both.card.classes == (*NAMES, "heart")
    umlite("weights", "drop", tmp_path / "both.pack.safetensors", "thyroid_tumor", "-o", tmp_path / "two.safetensors")
    umlite("weights", "rename", tmp_path / "two.safetensors", "heart", "myocardium", "-o", tmp_path / "r.safetensors")
    left = read_pack(tmp_path / "r.safetensors")
    assert left.card.classes == ("left_atrium", "myocardium")
    assert torch.equal(left.weight, both.weight[[0, 2]])
    assert [step.what for step in left.card.history] == [
        "merged",
        "dropped thyroid_tumor",
        "renamed heart to myocardium",
    ]
    told = umlite("weights", "show", tmp_path / "r.safetensors")
    assert "myocardium" in told
    assert "renamed heart to myocardium" in told
    assert "must not" not in told


def test_a_full_file_answers_like_its_parts(weights: Path, pack: Path, tmp_path: Path) -> None:
    full = tmp_path / "full.safetensors"
    assert "licence applies to the whole file" in umlite("weights", "merge", weights, pack, "-o", full)
    windows = torch.rand(1, 1, 16, 16, 16)
    parts = Segmenter(weights, packs=[pack], device="cpu")
    whole = Segmenter(full, device="cpu")
    assert whole.classes.names == parts.classes.names
    assert torch.equal(whole.window_logits(windows), parts.window_logits(windows))
    more = saved_pack(tmp_path, weights, ("heart",))
    assert Segmenter(full, packs=[more], device="cpu").classes.names[-1] == "heart"
    umlite("weights", "drop", full, "liver,left_atrium", "-o", tmp_path / "less.safetensors")
    less = Segmenter(tmp_path / "less.safetensors", device="cpu")
    assert set(whole.classes.names) - set(less.classes.names) == {"liver", "left_atrium"}
    for name in ("spleen", "thyroid_tumor", "kidney_cyst"):
        assert torch.equal(less.window_logits(windows, name), whole.window_logits(windows, name)), name


def test_what_cannot_be_dropped_or_written(small_weights: Path, tmp_path: Path) -> None:
    pack = saved_pack(tmp_path, small_weights, NAMES)
    there = tmp_path / "there.safetensors"
    there.write_bytes(b"mine")
    assert "No class would be left" in umlite("weights", "drop", pack, "all", "-o", tmp_path / "x", code=2)
    assert "exists already" in umlite("weights", "drop", pack, "left_atrium", "-o", there, code=2)
    assert there.read_bytes() == b"mine"
    assert "at least two files" in umlite("weights", "merge", pack, "-o", tmp_path / "x", code=2)
    other = tmp_path / "other.safetensors"
    model = small_model(seed=5)
    save_model(other, model.state_dict(), small_card(model))
    foreign = saved_pack(tmp_path / "f", other, ("heart",))
    assert "different networks" in umlite("weights", "merge", pack, foreign, "-o", tmp_path / "x", code=2)
    again = saved_pack(tmp_path / "g", small_weights, NAMES[:1])
    assert "More than one" in umlite("weights", "merge", pack, again, "-o", tmp_path / "x", code=2)


def damage(pack: Path, metadata: dict | None = None, **tensors: torch.Tensor) -> None:
    with safe_open(pack, "pt") as file:
        kept = file.metadata()
    data = json.loads(kept[KEY]) | (metadata or {})
    save_file({**load_file(pack), **tensors}, pack, {KEY: json.dumps(data)})


@pytest.mark.parametrize(
    ("metadata", "tensors"),
    [
        ({"base": "0"}, {}),
        ({"base": 7}, {}),
        ({"format": 9}, {}),
        ({"classes": []}, {}),
        ({"classes": ["../../etc", "b"]}, {}),
        ({"classes": ["organs", "b"]}, {}),
        ({"classes": ["a", "a"]}, {}),
        ({"classes": ["a\x1b[31m", "b"]}, {}),
        ({"classes": "ab"}, {}),
        ({"classes": [f"c{n}" for n in range(5000)]}, {}),
        ({"replaces": ["spleen"]}, {}),
        ({"measured": {"left_atrium": [2, 0, 1]}}, {}),
        ({"measured": {"nothing": [0.5, 0.4, 0.6]}}, {}),
        ({"history": [{"what": "x\ny", "sources": []}]}, {}),
        ({"license": "x" * 5000}, {}),
        ({"surprise": 1}, {}),
        ({}, {"weight": torch.zeros(3, 153, 32)}),
        ({}, {"weight": torch.zeros(2, 153)}),
        ({}, {"bias": torch.full((2, 153), float("nan"))}),
        ({}, {"extra": torch.zeros(1)}),
        ({}, {"weight": torch.zeros(2, 7, 5), "bias": torch.zeros(2, 7)}),
    ],
)
def test_damaged_packs(small_weights: Path, scan_file: Path, tmp_path: Path, metadata: dict, tensors: dict) -> None:
    pack = saved_pack(tmp_path, small_weights, NAMES)
    damage(pack, metadata, **tensors)
    told = umlite("segment", scan_file, "--weights", small_weights, "--with", pack, "-o", tmp_path / "x", code=2)
    assert "Error:" in told
    assert "\x1b" not in told
    assert not (tmp_path / "x").exists()


def test_files_that_are_no_pack(small_weights: Path, scan_file: Path, tmp_path: Path) -> None:
    base = ("segment", scan_file, "--weights", small_weights, "-o", tmp_path / "x", "--with")
    assert "is no pack" in umlite(*base, small_weights, code=2)
    (tmp_path / "text").write_text("hello")
    umlite(*base, tmp_path / "text", code=2)
    umlite(*base, tmp_path / "absent", code=2)
    assert "joined by commas" in umlite(*base, "a,,b", code=2)


def test_the_hash_of_a_network_does_not_depend_on_its_storage() -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.float16)}
    turned = {"b": torch.ones(2), "a": torch.arange(6.0).reshape(3, 2).T.contiguous().T.reshape(2, 3)}
    assert network_sha256(tensors) == network_sha256(turned)
    assert network_sha256(tensors) != network_sha256({**tensors, "b": torch.zeros(2)})
    assert np.prod(tensors["a"].shape) == 6
