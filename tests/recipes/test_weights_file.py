from __future__ import annotations

from pathlib import Path

import pytest
import torch

from recipes.demo_weights import weights_file
from recipes.demo_weights.offsets import Best
from recipes.demo_weights.recipe import build_model
from support.samples import make_scan, small_card, small_model
from umlite import Segmenter
from umlite.errors import WeightsError
from umlite.kernels.implementations import REFERENCE
from umlite.models.universal import UniversalModel
from umlite.weights.loading import load_model, save_model


@pytest.fixture
def network(embedding: Path) -> UniversalModel:
    return build_model(embedding, seed=1)


def test_exported_file_is_small_and_segments(network: UniversalModel, tmp_path: Path) -> None:
    path = tmp_path / "demo.safetensors"
    weights_file.export(network.state_dict(), path)
    assert path.stat().st_size <= 3_000_000
    segmenter = Segmenter(weights=path)
    assert segmenter.card.notice == weights_file.NOTICE
    result = segmenter.segment(make_scan(), "liver")
    assert result.mask("liver").shape == (40, 36, 30)


def test_training_starts_from_given_weights(network: UniversalModel, tmp_path: Path) -> None:
    path = tmp_path / "before.safetensors"
    weights_file.export(network.state_dict(), path)
    loaded = weights_file.load_network(path)
    assert all(t.equal(network.state_dict()[name].half().float()) for name, t in loaded.state_dict().items())
    assert all(p.requires_grad for p in loaded.parameters())


def test_the_bundled_weights_can_be_trained_on() -> None:
    weights_file.load_network(Segmenter("demo").weights_path)


def test_weights_of_another_network_are_no_start(tmp_path: Path) -> None:
    other, path = small_model(), tmp_path / "other.safetensors"
    save_model(path, other.state_dict(), small_card(other))
    with pytest.raises(WeightsError, match="another one"):
        weights_file.load_network(path)


def test_mean_of_two_files(network: UniversalModel, embedding: Path, tmp_path: Path) -> None:
    models = [network, build_model(embedding, seed=2)]
    paths = [tmp_path / name for name in ("one.safetensors", "other.safetensors", "mean.safetensors")]
    for model, path in zip(models, paths[:2], strict=True):
        weights_file.export(model.state_dict(), path)
    weights_file.mean_of_weights(*paths)
    found = load_model(paths[2], REFERENCE)[0].state_dict()
    for name, tensor in found.items():
        right = sum(model.state_dict()[name] for model in models) / 2
        assert torch.allclose(tensor, right, rtol=2e-3, atol=1e-3), name


def test_calibrated_weights_hold_the_best_offsets(
    network: UniversalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = tmp_path / "before.safetensors", tmp_path / "after.safetensors"
    weights_file.export(network.state_dict(), before)
    best = {"liver": Best(0.5, 0.8, 0.9), "kidney_tumor": Best(-1.0, 0.1, 0.2)}
    monkeypatch.setattr(weights_file, "best_offsets", lambda *_: best)
    table = weights_file.calibrate(before, 1, after)
    assert "kidney_tumor" in table
    assert "-1.00" in table
    image = torch.rand(1, 128)
    biases = [load_model(path, REFERENCE)[0].generator(image, range(32))[0, :, -1] for path in (before, after)]
    wanted = [best[name].offset if name in best else 0.0 for name in Segmenter(before).classes.names]
    assert torch.allclose(biases[1] - biases[0], torch.tensor(wanted), atol=2e-3)
