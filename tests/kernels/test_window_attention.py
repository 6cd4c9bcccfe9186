"""Shifted-window attention: the fast operation against its reference, the reference against MONAI's block."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets.swin_unetr import SwinTransformerBlock, compute_mask, get_window_size

from umlite.kernels.window_attention import relative_position_index, window_attention, window_attention_ref

GRIDS = [(7, 7, 7), (8, 9, 10), (14, 7, 5), (3, 15, 6), (6, 6, 6), (1, 1, 13)]


@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize("grid", GRIDS)
@torch.inference_mode()
def test_reference_is_monai(grid: tuple[int, int, int], shift: int) -> None:
    torch.manual_seed(0)
    block = SwinTransformerBlock(12, 2, (7, 7, 7), (shift,) * 3, qkv_bias=True).eval()
    torch.nn.init.normal_(block.attn.relative_position_bias_table)
    torch.nn.init.normal_(block.attn.qkv.bias)
    x = torch.randn(2, *grid, 12)
    sides, shifts = get_window_size(grid, block.window_size, block.shift_size)
    padded = [-(-size // side) * side for size, side in zip(grid, sides, strict=True)]
    expected = block.forward_part1(x, compute_mask(padded, sides, shifts, x.device))
    attention = block.attn
    values = window_attention_ref(
        attention.qkv(block.norm1(x)), attention.qkv.bias, attention.relative_position_bias_table, 2, 7, shift
    )
    torch.testing.assert_close(attention.proj(values), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("window", "shift"), [(7, 0), (7, 3), (4, 2), (3, 1), (2, 1)])
@pytest.mark.parametrize("grid", GRIDS)
@torch.inference_mode()
def test_fast_equals_reference(grid: tuple[int, int, int], window: int, shift: int) -> None:
    torch.manual_seed(0)
    qkv, padding = torch.randn(2, *grid, 3 * 12), torch.randn(3 * 12)
    table = torch.randn((2 * window - 1) ** 3, 3)
    expected = window_attention_ref(qkv, padding, table, 3, window, shift)
    found = window_attention(qkv, padding, table, 3, window, shift)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_position_index_by_definition() -> None:
    window = 3
    index = relative_position_index(window)
    for query in range(window**3):
        for key in range(window**3):
            offset = [
                query // window**i % window - key // window**i % window + window - 1 for i in (2, 1, 0)
            ]  # d, h, w
            assert index[query, key] == offset[0] * 25 + offset[1] * 5 + offset[2]
