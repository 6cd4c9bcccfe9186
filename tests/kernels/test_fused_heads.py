"""Heads from the feature: the operations against plain layers, and how torch sees them."""

from __future__ import annotations

import torch
from torch import nn

from umlite.kernels.blend import blend_ref
from umlite.kernels.channel_scale_shift import channel_scale_shift
from umlite.kernels.dynamic_heads import dynamic_heads_accumulate, dynamic_heads_ref
from umlite.kernels.fused_heads import fused_heads, fused_heads_accumulate, fused_heads_accumulate_ref, fused_heads_ref


def network() -> tuple[nn.GroupNorm, nn.Conv3d, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    norm, convolution = nn.GroupNorm(4, 16), nn.Conv3d(16, 8, 1)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm, convolution, torch.randn(2, 16, 3, 4, 5) * 3 + 1, torch.randn(2, 3, 153)


@torch.inference_mode()
def test_same_as_the_models_layers() -> None:
    norm, convolution, feature, params = network()
    expected = dynamic_heads_ref(convolution(torch.relu(norm(feature))), params)
    scale, shift = channel_scale_shift(feature, norm.weight, norm.bias, 4, norm.eps)
    stem = scale, shift, convolution.weight[:, :, 0, 0, 0], convolution.bias
    for operation in (fused_heads_ref, fused_heads):
        torch.testing.assert_close(operation(feature, *stem, params), expected, atol=2e-4, rtol=1e-4)


def test_sums_by_definition() -> None:
    _, _, feature, params = network()
    stem = torch.rand(2, 16), torch.rand(2, 16), torch.rand(8, 16), torch.rand(8)
    importance, starts = torch.rand(3, 4, 5), torch.tensor([[0, 0, 0], [1, 2, 1]])
    expected = torch.zeros(3, 5, 6, 7)
    for logits, (x, y, z) in zip(fused_heads_ref(feature, *stem, params), starts.tolist(), strict=True):
        expected[:, x : x + 3, y : y + 4, z : z + 5] += logits * importance
    for operation in (fused_heads_accumulate_ref, fused_heads_accumulate):
        sums = torch.zeros_like(expected)
        operation(feature, *stem, params, importance, sums, starts)
        torch.testing.assert_close(sums, expected, atol=1e-3, rtol=1e-4)
    head_input = torch.randn(2, 8, 3, 4, 5)
    sums, expected = torch.zeros_like(expected), torch.zeros_like(expected)
    dynamic_heads_accumulate(head_input, params, importance, sums, starts)
    blend_ref(dynamic_heads_ref(head_input, params), importance, expected, starts)
    torch.testing.assert_close(sums, expected, atol=1e-3, rtol=1e-4)


def test_each_is_one_node_of_a_compiled_graph() -> None:
    _, _, feature, params = network()
    stem = torch.rand(2, 16), torch.rand(2, 16), torch.rand(8, 16), torch.rand(8)
    place = torch.rand(3, 4, 5), torch.zeros(3, 5, 6, 7), torch.tensor([[0, 0, 0], [1, 2, 1]])
    torch.library.opcheck(fused_heads, (feature, *stem, params))
    torch.library.opcheck(fused_heads_accumulate, (feature, *stem, params, *place))
    torch.library.opcheck(dynamic_heads_accumulate, (feature[:, :8].contiguous(), params, *place))
    torch.library.opcheck(channel_scale_shift, (feature, None, None, 4, 1e-5))

    def whole(x: torch.Tensor, sums: torch.Tensor) -> torch.Tensor:
        scale, shift = channel_scale_shift(x, None, None, 4, 1e-5)
        fused_heads_accumulate(x, scale, shift, *stem[2:], params, place[0], sums, place[2])
        return fused_heads(x, scale, shift, *stem[2:], params)

    graphs = []
    compiled = torch.compile(whole, fullgraph=True, backend=lambda graph, _: graphs.append(graph) or graph.forward)
    torch.testing.assert_close(compiled(feature, place[1].clone()), whole(feature, place[1].clone()))
    assert len(graphs) == 1
