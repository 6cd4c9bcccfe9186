"""Everything at once in Triton's interpreter: a window through both small networks, and a small scan to its bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from support.samples import WIDTHS

pytest.importorskip("triton", reason="needs Triton, whose interpreter needs no GPU")

from support.gpu.interpreter import interpreted
from support.gpu.operations import TRITON, on_gpu
from umlite.kernels.blend import blend, blend_ref
from umlite.kernels.channel_scale_shift import channel_scale_shift
from umlite.kernels.decide import decide_bits, decide_bits_ref
from umlite.kernels.fused_heads import fused_heads
from umlite.kernels.gather import gather_windows, gather_windows_ref
from umlite.kernels.implementations import KernelSet
from umlite.kernels.norm_act import norm_act
from umlite.kernels.resample import resample_hu, resample_hu_ref, rows_of
from umlite.kernels.triton import fused_heads as heads_launcher
from umlite.kernels.triton import tiles
from umlite.kernels.triton import window_attention as attention_launcher
from umlite.kernels.triton.fused_heads import Variant
from umlite.models.config import HeadConfig, NetworkConfig, SwinUNETRConfig, UNetConfig
from umlite.models.universal import UniversalModel
from umlite.windows import importance_map, window_grid

UNET = UNetConfig(channels=(8, 8, 8, 8))
SWIN = SwinUNETRConfig(feature_size=16, heads=(1, 1, 2, 2), attention_window=8)
CLASSES = 3
LAST = torch.channels_last_3d


@pytest.fixture(autouse=True)
def _large_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter's time goes by programs, not by their size."""
    monkeypatch.setattr(tiles, "ELEMENTS", 1 << 15)
    monkeypatch.setattr(attention_launcher, "BLOCK_QUERY", 512)
    monkeypatch.setattr(attention_launcher, "BLOCK_KEY", {4: 512})
    monkeypatch.setattr(heads_launcher, "choose", lambda *_: Variant(step=0, block=1 << 13, warps=4))


def networks(
    backbone: UNetConfig | SwinUNETRConfig, kernels: KernelSet = TRITON
) -> tuple[UniversalModel, UniversalModel]:
    """One network with random weights on the reference's operations, and the same on kernels, channels last."""
    head = HeadConfig(CLASSES, "shared", embedding_width=24, gap_width=32, groups=8, **WIDTHS["shared"])
    config = NetworkConfig(backbone, head)
    torch.manual_seed(0)
    plain = UniversalModel(config)
    for tensor in plain.state_dict().values():
        if tensor.ndim > 1:
            tensor.normal_(std=(2 / tensor[0].numel()) ** 0.5)
        else:
            tensor.add_(torch.randn_like(tensor), alpha=0.1)
    fast = UniversalModel(config, kernels)
    fast.load_state_dict(plain.state_dict())
    fast.backbone.to(memory_format=LAST)
    return plain.eval().requires_grad_(False), fast.eval().requires_grad_(False)


NORMS_ON_TORCH = replace(TRITON, norm_act=norm_act)  # there are a thousand channels, one program each


@pytest.mark.parametrize(
    ("backbone", "window", "kernels"),
    [
        pytest.param(UNET, (16, 8, 16), TRITON, id="unet"),
        pytest.param(SWIN, (32, 32, 64), NORMS_ON_TORCH, id="swin_unetr, norms on torch"),
        pytest.param(SWIN, (32, 32, 64), TRITON, id="swin_unetr", marks=pytest.mark.slow),
    ],
)
@torch.inference_mode()
def test_window(backbone: UNetConfig | SwinUNETRConfig, window: tuple[int, int, int], kernels: KernelSet) -> None:
    plain, fast = networks(backbone, kernels)
    x = torch.rand(1, 1, *window)
    with interpreted():
        found = fast(x)
    expected = plain(x)
    assert ((found - expected).abs().amax(dim=(2, 3, 4)) / expected.std(dim=(2, 3, 4))).max() < 1e-4


@torch.inference_mode()
def test_scan() -> None:
    """Scan to model grid, windows, network, heads into the sums, decision."""
    plain, fast = networks(UNET)
    window, shape = (16, 8, 16), (23, 8, 16)
    scan = torch.empty(12, 7, 21).uniform_(-400, 500).permute(2, 1, 0)
    to_scan = np.diag([20 / 22, 6 / 7, 11 / 15, 1.0])
    places = torch.tensor(window_grid(shape, window, 0.5, 0))
    importance = importance_map(window)

    volume = resample_hu_ref(scan, rows_of(to_scan), shape, -175.0, 250.0)
    expected = torch.zeros(CLASSES, *shape)
    blend_ref(plain(gather_windows_ref(volume, places, window, torch.float32)), importance, expected, places)

    norm, _, convolution = fast.head_input
    sums = torch.zeros(CLASSES, *shape)
    with interpreted():
        volume = on_gpu(resample_hu)(scan, rows_of(to_scan), shape, -175.0, 250.0)
        windows = on_gpu(gather_windows)(volume, places, window, torch.float32)
        bottleneck, feature = fast.backbone(windows)
        params = fast.generator(fast.generator.image_vector(bottleneck), range(CLASSES))
        stem = on_gpu(channel_scale_shift)(feature, norm.weight, norm.bias, norm.num_groups, norm.eps)
        layer = (convolution.weight.flatten(1), convolution.bias)
        on_gpu(fused_heads)(feature, *stem, *layer, params, importance, sums, places)
        bits, broken = on_gpu(decide_bits)(sums)

        count, (depth, rows, columns) = len(places), window
        kept, again = torch.zeros(CLASSES, count * depth, rows, columns), torch.zeros_like(sums)
        apart = torch.tensor([[k * depth, 0, 0] for k in range(count)])
        on_gpu(fused_heads)(feature, *stem, *layer, params, torch.ones(window), kept, apart)
        on_gpu(blend)(kept.unflatten(1, (count, depth)).transpose(0, 1), importance, again, places)
    assert torch.equal(again, sums), "logits that are kept, then blended, must round as those that never were"
    tolerance = 5e-4 * expected.std().item()  # the network amplifies how the resampling rounds
    torch.testing.assert_close(sums, expected, atol=tolerance, rtol=0)
    assert not broken
    differing = bits ^ decide_bits_ref(expected)[0]
    for k in range(CLASSES):
        assert not ((differing >> k) & 1).bool()[expected[k].abs() > tolerance].any()
        assert 0.01 < ((bits >> k) & 1).float().mean() < 0.99
