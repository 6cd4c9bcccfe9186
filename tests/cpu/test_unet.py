"""The native U-Net against the torch module in float64, and against the published code's numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from support.cpu_layers import values64
from support.native import assert_same_bits
from support.recipes import Recipe
from umlite.cpu.heads import Heads
from umlite.cpu.unet import NativeUNet
from umlite.kernels.implementations import REFERENCE
from umlite.models.config import UNetConfig
from umlite.models.unet import UNet
from umlite.weights.loading import load_model


def random_unet(channels: tuple[int, int, int, int], seed: int = 0) -> UNet:
    torch.manual_seed(seed)
    net = UNet(UNetConfig(channels))
    for name, tensor in net.state_dict().items():
        if "bn1" in name:
            tensor.normal_()  # gammas of both signs: pooling needs minima too
        elif tensor.ndim > 1:
            tensor.normal_(std=(2 / tensor[0].numel()) ** 0.5)
    return net.requires_grad_(False)


def worst(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.std())


@pytest.mark.parametrize(
    ("channels", "window"),
    [((16, 32, 64, 128), (32, 32, 32)), ((16, 16, 32, 32), (8, 24, 40)), ((6, 10, 18, 34), (16, 8, 24))],
)
def test_agrees_with_float64(channels, window) -> None:
    net = random_unet(channels)
    image = torch.rand(1, 1, *window)
    native = NativeUNet(net, window, threads=2, keep=False)
    eager = net(image)
    exact = net.double()(image.double())
    native.image[...] = image[0, 0].numpy()
    for _ in range(2):  # nothing of the first window may be left in the second
        native.run()
    for found, torch32, right in zip((native.bottleneck, native.feature), eager, exact, strict=True):
        limit = max(4 * worst(torch32.double(), right), 1e-5)  # small tensors: one unlucky voxel decides
        assert worst(values64(found), right) < limit


def test_threads_and_reruns_give_the_same_bits() -> None:
    assert_same_bits(NativeUNet, random_unet((16, 16, 32, 32)), (24, 32, 16))


def test_refuses_windows_that_cannot_be_halved_three_times() -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        NativeUNet(random_unet((8, 8, 8, 8)), (16, 16, 20), 1, keep=False)


@pytest.mark.slow
@pytest.mark.usefixtures("all_threads")
def test_window_agrees_with_the_published_code(shared: Path, recipe: Recipe) -> None:
    model, _ = load_model(recipe.weights("unet"), REFERENCE)
    expected = load_file(shared / "golden" / "patch_unet.safetensors")
    native = NativeUNet(model.backbone, (96, 96, 96), threads=2, keep=False)
    native.image[...] = recipe.patch(0)[0, 0].numpy()
    native.run()
    logits = torch.from_numpy(Heads(model, native.feature, native.bottleneck, 2).logits(range(32)))
    deviation = expected["logits_std"]
    error = (logits[:, ::6, ::6, ::6] - expected["logits_strided"]).abs().amax(dim=(1, 2, 3)) / deviation
    assert error.max() < 1e-3
    flat = logits.flatten(1).double()
    assert ((flat.mean(1) - expected["logits_mean"]).abs() / deviation).max() < 1e-3
    assert ((flat.std(1) - deviation).abs() / deviation).max() < 1e-3
