"""The reference network computes what the oracle computes, plainly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from support.samples import small_card, small_model
from umlite.checks.reference_network import ReferenceNetwork, grouped_heads, load_reference
from umlite.errors import RequestError
from umlite.models.config import HeadConfig, NetworkConfig, SwinUNETRConfig
from umlite.models.universal import UniversalModel
from umlite.weights.loading import save_model


def narrow_swin(feature_size: int) -> UniversalModel:
    torch.manual_seed(0)
    head = HeadConfig(3, embedding_width=8, gap_width=16, task_width=8, groups=4)
    swin = SwinUNETRConfig(feature_size=feature_size, depths=(1, 1, 1, 1), heads=(2, 2, 4, 4), attention_window=3)
    return UniversalModel(NetworkConfig(swin, head)).eval().requires_grad_(False)


@torch.inference_mode()
@pytest.mark.parametrize("generator", ["shared", "embedding", "per_class"])
def test_unet_as_the_oracle(generator: str) -> None:
    model = small_model(generator=generator, classes=5)
    x = torch.rand(2, 1, 16, 24, 16)
    torch.testing.assert_close(ReferenceNetwork(model)(x), model(x), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_monais_swin_unetr_as_the_oracle() -> None:
    model = narrow_swin(12)
    x = torch.rand(1, 1, 64, 64, 64)
    torch.testing.assert_close(ReferenceNetwork(model)(x), model(x), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_monais_segresnet_as_the_oracle() -> None:
    model = small_model("segresnet", classes=5)
    x = torch.rand(2, 1, 16, 24, 16)
    torch.testing.assert_close(ReferenceNetwork(model)(x), model(x), atol=1e-5, rtol=1e-5)


def test_a_width_that_monai_refuses() -> None:
    with pytest.raises(RequestError, match="multiples of 12"):
        ReferenceNetwork(narrow_swin(16))


def test_one_class_alone() -> None:
    h, params = torch.randn(1, 8, 3, 4, 5), torch.randn(4, 153)
    whole = grouped_heads(h, params)
    for k in range(4):
        torch.testing.assert_close(grouped_heads(h, params[k : k + 1])[:, 0], whole[:, k])


def test_from_a_weights_file(tmp_path: Path) -> None:
    model = small_model(classes=2)
    save_model(tmp_path / "w.safetensors", model.state_dict(), small_card(model))
    network, card = load_reference(tmp_path / "w.safetensors")
    assert network.classes == len(card.classes) == 2
