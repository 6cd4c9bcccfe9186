"""Merged upsampling and Winograd in torch operations: the same function as the plain modules, up to rounding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from umlite.kernels.implementations import FAST, REFERENCE
from umlite.models.config import SwinUNETRConfig, UNetConfig
from umlite.models.merging import MergedConv, merge_upsampling
from umlite.models.swin_unetr import DecoderBlock, SwinUNETR
from umlite.models.unet import UNet, Up
from umlite.models.winograd import WinogradConv3d, use_winograd

SIDES = st.tuples(*3 * [st.integers(1, 9)])


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm())


@settings(max_examples=25)
@given(SIDES, st.sampled_from([1, 3]), st.booleans(), st.integers(0, 2**31))
def test_a_merged_convolution_is_the_two_it_replaces(grid, taps: int, bias: bool, seed: int) -> None:
    torch.manual_seed(seed)
    transposed = nn.ConvTranspose3d(5, 4, 2, stride=2, bias=bias)
    conv = nn.Conv3d(4 + 3, 6, taps, padding=taps // 2, bias=bias)
    x, skip = torch.randn(2, 5, *grid), torch.randn(2, 3, *(2 * side for side in grid))
    with torch.inference_mode():
        found = MergedConv(conv, transposed)(x, skip)
        expected = conv.double()(torch.cat((transposed.double()(x.double()), skip.double()), dim=1))
    assert distance(found, expected) < 1e-6


@settings(max_examples=25)
@given(SIDES, st.booleans(), st.integers(0, 2**31))
def test_winograd_is_the_convolution(grid, bias: bool, seed: int) -> None:
    torch.manual_seed(seed)
    conv = nn.Conv3d(7, 5, 3, padding=1, bias=bias)
    x = torch.randn(2, 7, *grid)
    with torch.inference_mode():
        found = WinogradConv3d(conv.weight, conv.bias)(x)
        assert distance(found, conv.double()(x.double())) < 3e-6


def test_winograd_takes_blocks_of_rows_and_ragged_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("umlite.models.winograd.BLOCK", 7 * 5 * 2)  # two rows of five tiles
    conv = nn.Conv3d(7, 5, 3, padding=1)
    x = torch.randn(1, 7, 6, 19, 18)
    with torch.inference_mode():
        assert distance(WinogradConv3d(conv.weight, conv.bias)(x), conv.double()(x.double())) < 3e-6


@pytest.mark.parametrize("kind", ["unet", "swin_unetr"])
def test_a_rewritten_backbone_agrees_with_the_plain_one(kind: str) -> None:
    torch.manual_seed(0)
    if kind == "unet":
        config, build, window = UNetConfig((32, 64, 64, 64)), UNet, (8, 16, 24)
    else:
        config, build = SwinUNETRConfig(feature_size=36, depths=(1, 1, 1, 1), attention_window=3), SwinUNETR
        window = (32, 64, 32)
    plain = build(config, REFERENCE).requires_grad_(False)
    fast = build(config, FAST).requires_grad_(False)
    fast.load_state_dict(plain.state_dict())
    use_winograd(merge_upsampling(fast))
    modules = list(fast.modules())
    assert any(isinstance(module, WinogradConv3d) for module in modules)
    assert any(isinstance(module, MergedConv) for module in modules)
    assert not any(isinstance(module, Up | DecoderBlock) for module in modules)
    x = torch.rand(1, 1, *window)
    with torch.inference_mode():
        for found, expected in zip(fast(x), plain.double()(x.double()), strict=True):
            assert distance(found, expected) < 1e-4
