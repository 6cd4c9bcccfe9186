from __future__ import annotations

import pytest
import torch

from umlite.errors import RequestError
from umlite.kernels.dynamic_heads import dynamic_heads_ref
from umlite.models.config import HeadConfig, NetworkConfig, UNetConfig
from umlite.models.universal import UniversalModel
from umlite.training import native
from umlite.training.network import Average, Supervision, dynamic_heads_batched, untrained_model, window_logits


@pytest.mark.parametrize(("n", "classes", "k", "side"), [(1, 1, 8, 1), (2, 5, 8, 3), (1, 3, 4, 5)])
def test_heads_are_the_engines(n: int, classes: int, k: int, side: int) -> None:
    torch.manual_seed(0)
    h = torch.randn(n, k, side, side, side)
    params = torch.randn(n, classes, 2 * k * k + 3 * k + 1)
    expected = dynamic_heads_ref(h, params).flatten(2)
    torch.testing.assert_close(dynamic_heads_batched(h.flatten(2), params), expected, rtol=1e-5, atol=1e-4)


def test_logits_at_some_voxels_are_the_models(model: UniversalModel) -> None:
    voxels = torch.rand(1, 1, 24, 24, 24)
    at = (slice(1, None, 2), slice(0, None, 2), slice(1, None, 2))
    with torch.no_grad():
        some, fine, coarse = window_logits(model, voxels, at, Supervision(model))
        every = model(voxels)[(..., *at)].flatten(2)
    assert fine is not None
    assert coarse is not None
    assert fine.shape == some.shape
    assert coarse.shape == (1, 5, 27)
    tolerance = 1e-3 if native.available() else 0.1  # of float32, or of bfloat16
    assert (some - every).abs().max() < tolerance * every.std() + tolerance / 2


def test_windows_that_bf16_cannot_train_on_are_refused(model: UniversalModel) -> None:
    with pytest.raises(RequestError, match=r"24\^3"):
        window_logits(model, torch.rand(1, 1, 24, 16, 24), (slice(None),) * 3)


def test_untrained_network_finds_nothing(model: UniversalModel) -> None:
    with torch.no_grad():
        assert (model(torch.rand(1, 1, 24, 24, 24)) > 0).float().mean() < 0.05


@pytest.mark.parametrize(("generator", "rows"), [("per_class", 2), ("embedding", 2), ("shared", 3)])
def test_other_generators_and_embeddings_are_refused(generator: str, rows: int) -> None:
    config = NetworkConfig(
        UNetConfig((8, 8, 8, 16)), HeadConfig(2, generator, embedding_width=12, task_width=12, groups=8)
    )
    with pytest.raises(RequestError, match="shared generator"):
        untrained_model(config, torch.zeros(rows, 12))


def test_average_follows_the_model() -> None:
    layer = torch.nn.Linear(2, 1)
    average = Average(layer, decay=0.9)
    start = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight += 1
    average.update(layer, step=1000)
    torch.testing.assert_close(average.tensors["weight"], start + 0.1)
