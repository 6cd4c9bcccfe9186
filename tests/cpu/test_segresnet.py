"""The native SegResNet against the torch module in float64, and that its numbers do not depend on threads."""

from __future__ import annotations

import pytest
import torch

from support.cpu_layers import values64
from support.native import assert_same_bits
from umlite.cpu.segresnet import NativeSegResNet
from umlite.models.config import SegResNetConfig
from umlite.models.segresnet import SegResNet

PUBLISHED = SegResNetConfig()
SMALL = SegResNetConfig(blocks_down=(1, 2, 1, 1), blocks_up=(1, 1, 2))
PADDED = SegResNetConfig(filters=12, blocks_down=(2, 1, 1, 1), blocks_up=(2, 1, 1), groups=4)


def random_segresnet(config: SegResNetConfig, seed: int = 0) -> SegResNet:
    torch.manual_seed(seed)
    net = SegResNet(config)
    for tensor in net.state_dict().values():
        tensor.normal_(std=(2 / tensor[0].numel()) ** 0.5 if tensor.ndim > 1 else 1.0)
    return net.requires_grad_(False)


def worst(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.std())


def check(config: SegResNetConfig, window: tuple[int, int, int], threads: int = 2) -> None:
    net = random_segresnet(config)
    image = torch.rand(1, 1, *window, generator=torch.Generator().manual_seed(1))
    native = NativeSegResNet(net, window, threads, keep=False)
    eager = net(image)
    exact = net.double()(image.double())
    native.image[...] = image[0, 0].numpy()
    for _ in range(2):  # nothing of the first window may be left in the second
        native.run()
    for found, torch32, right in zip((native.bottleneck, native.feature), eager, exact, strict=True):
        limit = max(4 * worst(torch32.double(), right), 1e-5)  # small tensors: one unlucky voxel decides
        assert worst(values64(found), right) < limit
        assert not found.data[..., found.channels :].any()


@pytest.mark.parametrize(
    ("config", "window"),
    [(PUBLISHED, (32, 32, 32)), (SMALL, (8, 24, 40)), (PADDED, (16, 8, 24)), (SMALL, (16, 8, 8))],
)
def test_agrees_with_float64(config: SegResNetConfig, window: tuple[int, int, int]) -> None:
    check(config, window)


@pytest.mark.slow
@pytest.mark.usefixtures("all_threads")
def test_a_window_of_the_published_size() -> None:
    check(PUBLISHED, (96, 96, 96))


def test_threads_and_reruns_give_the_same_bits() -> None:
    assert_same_bits(NativeSegResNet, random_segresnet(PADDED), (24, 32, 16))


def test_refuses_windows_that_cannot_be_halved_three_times() -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        NativeSegResNet(random_segresnet(SMALL), (16, 16, 20), 1, keep=False)
