"""Swin UNETR against MONAI's layers (Apache-2.0), wherever the published network and MONAI's are the same."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import swin_unetr as monai_swin

from umlite.kernels.implementations import FAST, REFERENCE, KernelSet
from umlite.models.config import SwinUNETRConfig
from umlite.models.swin_unetr import DecoderBlock, EncoderBlock, PatchMerging, SwinUNETR

CONFIG = SwinUNETRConfig(feature_size=12, heads=(2, 3, 4, 6), attention_window=3)


class PublishedMerging(monai_swin.PatchMerging):
    """MONAI's older merging, with the corners that the published weights were trained with (model.md, section 3.2)."""

    def forward(self, x):
        corners = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1)]
        return self.reduction(self.norm(torch.cat([x[:, i::2, j::2, k::2] for i, j, k in corners], -1)))


@pytest.fixture(scope="module")
def monai_network() -> torch.nn.Module:
    torch.manual_seed(0)
    network = monai_swin.SwinUNETR(
        in_channels=1,
        out_channels=2,
        feature_size=CONFIG.feature_size,
        depths=CONFIG.depths,
        num_heads=CONFIG.heads,
        window_size=CONFIG.attention_window,
        use_v2=False,
        downsample=PublishedMerging,
    ).eval()
    for name, parameter in network.named_parameters():
        if name.endswith("relative_position_bias_table"):
            parameter.data.normal_(std=0.5)
    return network


@pytest.mark.parametrize("kernels", [REFERENCE, FAST], ids=["reference", "fast"])
@pytest.mark.parametrize("shape", [(64, 64, 64), (32, 64, 96)])
@torch.inference_mode()
def test_same_as_monai_but_for_patch_merging(monai_network, kernels: KernelSet, shape: tuple[int, int, int]) -> None:
    network = SwinUNETR(CONFIG, kernels).eval()
    stored = monai_network.state_dict()
    state = {k: v for k, v in stored.items() if not k.endswith("relative_position_index") and not k.startswith("out.")}
    network.load_state_dict(state)
    x = torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(1))
    maps = monai_network.swinViT(x, True)
    for ours, theirs in zip(network.swinViT(x), maps, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)
    decoded = monai_network.encoder10(maps[4])
    bottleneck, feature = network(x)
    torch.testing.assert_close(bottleneck, decoded, atol=1e-4, rtol=1e-4)
    decoded = monai_network.decoder5(decoded, maps[3])
    decoded = monai_network.decoder4(decoded, monai_network.encoder4(maps[2]))
    decoded = monai_network.decoder3(decoded, monai_network.encoder3(maps[1]))
    decoded = monai_network.decoder2(decoded, monai_network.encoder2(maps[0]))
    decoded = monai_network.decoder1(decoded, monai_network.encoder1(x))
    torch.testing.assert_close(feature, decoded, atol=2e-4, rtol=1e-4)


def test_patch_merging_gathers_two_corners_twice() -> None:
    merging = PatchMerging(1)
    merging.norm = torch.nn.Identity()
    merging.reduction = torch.nn.Identity()
    block = torch.arange(8.0).view(1, 2, 2, 2, 1)  # the value of corner (d, h, w) is 4d + 2h + w
    assert merging(block).flatten().tolist() == [0, 4, 2, 1, 5, 2, 1, 7]


def test_blocks_change_channels_only_with_a_projection() -> None:
    assert EncoderBlock(8, 8, REFERENCE.norm_act).layer.conv3 is None
    assert EncoderBlock(1, 8, REFERENCE.norm_act).layer.conv3 is not None
    assert DecoderBlock(16, 8, REFERENCE.norm_act).conv_block.conv3 is not None
