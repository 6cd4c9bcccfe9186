"""SegResNet against MONAI's (Apache-2.0), with the same numbers."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets.segresnet import SegResNet as MonaiSegResNet

from support.samples import published_state
from umlite.kernels.implementations import FAST, REFERENCE, KernelSet
from umlite.models.config import HeadConfig, NetworkConfig, SegResNetConfig
from umlite.models.universal import UniversalModel
from umlite.models.winograd import use_winograd

CLASSES = 25
CONFIGS = [
    SegResNetConfig(),
    SegResNetConfig(filters=12, blocks_down=(2, 1, 1, 3), blocks_up=(2, 1, 1), groups=4),
]


def both(config: SegResNetConfig, kernels: KernelSet = REFERENCE) -> tuple[UniversalModel, torch.nn.Module]:
    """umlite's network and MONAI's with the same seeded numbers."""
    head = HeadConfig.linear(CLASSES, config.filters, config.groups)
    ours = UniversalModel(NetworkConfig(config, head), kernels).eval()
    torch.manual_seed(0)
    for tensor in ours.state_dict().values():
        tensor.normal_(std=(2 / tensor[0].numel()) ** 0.5 if tensor.ndim > 1 else 1.0)
    monai = MonaiSegResNet(
        init_filters=config.filters,
        out_channels=CLASSES,
        norm=("GROUP", {"num_groups": config.groups}),
        blocks_down=config.blocks_down,
        blocks_up=config.blocks_up,
    ).eval()
    monai.load_state_dict(published_state(ours, ""))
    return ours, monai


@pytest.mark.parametrize("kernels", [REFERENCE, FAST], ids=["reference", "fast"])
@pytest.mark.parametrize("config", CONFIGS, ids=["published", "other"])
@torch.inference_mode()
def test_same_as_monai(config: SegResNetConfig, kernels: KernelSet) -> None:
    ours, monai = both(config, kernels)
    x = torch.rand(2, 1, 32, 24, 40, generator=torch.Generator().manual_seed(1))
    expected = monai(x)
    torch.testing.assert_close(ours(x), expected, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(ours(x, [7, 3]), expected[:, [7, 3]], atol=2e-5, rtol=1e-5)


@torch.inference_mode()
def test_winograd_leaves_strided_convolutions_alone() -> None:
    ours, monai = both(CONFIGS[0])
    use_winograd(ours.backbone)
    x = torch.rand(1, 1, 16, 24, 8, generator=torch.Generator().manual_seed(2))
    expected = monai(x)
    assert (ours(x) - expected).abs().max() < 1e-4 * expected.std()


def test_size_of_the_published_network() -> None:
    ours, monai = both(CONFIGS[0])
    count = sum(tensor.numel() for tensor in ours.state_dict().values())
    assert count == sum(parameter.numel() for parameter in monai.parameters()) == 4_701_305


@pytest.mark.slow
@torch.inference_mode()
def test_a_window_of_the_published_size() -> None:
    ours, monai = both(CONFIGS[0])
    x = torch.rand(1, 1, 96, 96, 96, generator=torch.Generator().manual_seed(3))
    expected = monai(x)
    assert (ours(x) - expected).abs().max() < 1e-5 * expected.std()
