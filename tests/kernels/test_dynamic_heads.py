"""Class-specific heads: the fast operation against its reference, and the reference against grouped convolutions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from umlite.kernels.dynamic_heads import CHUNK_VOXELS, as_three_layers, dynamic_heads, dynamic_heads_ref


def grouped_convolutions(h: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
    """The published way: the input repeated for every class, three grouped convolutions."""
    answers = []
    for window, p in zip(h, params, strict=True):
        k, c = len(window), len(p)
        w1, w2, w3, b1, b2, b3 = p.split((k * k, k * k, k, k, k, 1), dim=1)
        y = window.repeat(c, 1, 1, 1)[None]
        y = F.relu(F.conv3d(y, w1.reshape(c * k, k, 1, 1, 1), b1.flatten(), groups=c))
        y = F.relu(F.conv3d(y, w2.reshape(c * k, k, 1, 1, 1), b2.flatten(), groups=c))
        answers.append(F.conv3d(y, w3.reshape(c, k, 1, 1, 1), b3.flatten(), groups=c)[0])
    return torch.stack(answers)


@pytest.mark.parametrize("channels", [8, 5])
@pytest.mark.parametrize("classes", [1, 3, 40])
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 11, 13), (16, 32, 33)])
@pytest.mark.parametrize("operation", [dynamic_heads_ref, dynamic_heads], ids=["reference", "fast"])
def test_same_as_grouped_convolutions(operation, shape, classes: int, channels: int) -> None:
    torch.manual_seed(0)
    h = torch.randn(2, channels, *shape)
    params = torch.randn(2, classes, 2 * channels**2 + 3 * channels + 1)
    expected = grouped_convolutions(h.double(), params.double())
    assert (operation(h, params) - expected).abs().max() <= 2e-6 * expected.abs().max()


@pytest.mark.parametrize("operation", [dynamic_heads_ref, dynamic_heads], ids=["reference", "fast"])
@pytest.mark.parametrize(("classes", "channels"), [(1, 1), (25, 16), (3, 5)])
def test_heads_of_one_layer(operation, classes: int, channels: int) -> None:
    torch.manual_seed(0)
    h, params = torch.randn(2, channels, 5, 7, 3), torch.randn(2, classes, channels + 1)
    weights, bias = params.double().split((channels, 1), dim=2)
    expected = torch.einsum("nck,nkxyz->ncxyz", weights, h.double()) + bias[..., None, None]
    assert (operation(h, params) - expected).abs().max() <= 1e-6 * expected.abs().max()
    three = as_three_layers(params, channels)
    torch.testing.assert_close(operation(h.relu(), three), operation(h.relu(), params), atol=1e-5, rtol=1e-5)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    h, params = torch.randn(1, 8, 5, 7, 9), torch.randn(1, 4, 153)
    whole = dynamic_heads(h, params)
    assert h[0, 0].numel() < CHUNK_VOXELS
    for chunk in (1, 314, 315, 316):
        monkeypatch.setattr("umlite.kernels.dynamic_heads.CHUNK_VOXELS", chunk)
        torch.testing.assert_close(dynamic_heads(h, params), whole, atol=1e-5, rtol=1e-5)


def test_non_contiguous_input() -> None:
    torch.manual_seed(0)
    h, params = torch.randn(2, 6, 7, 5, 8).permute(0, 4, 2, 1, 3), torch.randn(2, 153, 3).mT
    torch.testing.assert_close(dynamic_heads(h, params), dynamic_heads_ref(h, params), atol=1e-4, rtol=1e-5)


def test_is_one_node_of_a_compiled_graph() -> None:
    for numbers in (153, 9):
        torch.library.opcheck(dynamic_heads, (torch.randn(1, 8, 3, 4, 5), torch.randn(1, 2, numbers)))
