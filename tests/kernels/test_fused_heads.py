"""Fused heads: the operation against plain layers and the definition of sums, and how torch sees it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from umlite.kernels.channel_scale_shift import channel_scale_shift
from umlite.kernels.dynamic_heads import dynamic_heads_ref
from umlite.kernels.fused_heads import fused_heads, fused_heads_ref

Tensors = tuple[torch.Tensor, ...]


@pytest.fixture
def network() -> tuple[nn.GroupNorm, nn.Conv3d, torch.Tensor, torch.Tensor]:
    """Norm, convolution, feature and params of two windows."""
    torch.manual_seed(0)
    norm, convolution = nn.GroupNorm(4, 16), nn.Conv3d(16, 8, 1)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm, convolution, torch.randn(2, 16, 3, 4, 5) * 3 + 1, torch.randn(2, 3, 153)


@pytest.fixture
def place() -> Tensors:
    """Importance, sums and starts of windows that overlap."""
    torch.manual_seed(1)
    return torch.rand(3, 4, 5), torch.randn(3, 5, 6, 7), torch.tensor([[0, 0, 0], [1, 2, 1]])


@pytest.mark.parametrize("operation", [fused_heads_ref, fused_heads], ids=["reference", "fast"])
@torch.inference_mode()
def test_same_as_the_models_layers_and_the_definition_of_sums(operation, network, place: Tensors) -> None:
    norm, convolution, feature, params = network
    importance, before, starts = place
    expected = before.clone()
    logits = dynamic_heads_ref(convolution(torch.relu(norm(feature))), params)
    for window, (x, y, z) in zip(logits, starts.tolist(), strict=True):
        expected[:, x : x + 3, y : y + 4, z : z + 5] += window * importance
    scale, shift = channel_scale_shift(feature, norm.weight, norm.bias, 4, norm.eps)
    stem = scale, shift, convolution.weight[:, :, 0, 0, 0], convolution.bias
    sums = before.clone()
    operation(feature, *stem, params, importance, sums, starts)
    torch.testing.assert_close(sums, expected, atol=2e-4, rtol=1e-4)


def test_is_one_node_of_a_compiled_graph(network, place: Tensors) -> None:
    *_, feature, params = network
    stem = torch.rand(2, 16), torch.rand(2, 16), torch.rand(8, 16), torch.rand(8)
    torch.library.opcheck(fused_heads, (feature, *stem, params, *place))

    def whole(x: torch.Tensor, sums: torch.Tensor) -> torch.Tensor:
        scale, shift = channel_scale_shift(x, None, None, 4, 1e-5)
        fused_heads(x, scale, shift, *stem[2:], params, place[0], sums, place[2])
        return sums * 1

    graphs = []
    compiled = torch.compile(whole, fullgraph=True, backend=lambda graph, _: graphs.append(graph) or graph.forward)
    torch.testing.assert_close(compiled(feature, place[1].clone()), whole(feature, place[1].clone()))
    assert len(graphs) == 1
