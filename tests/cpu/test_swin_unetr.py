"""The native Swin UNETR against the torch module in float64, and against the published code's numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from support.cpu_layers import values64
from support.native import assert_same_bits
from support.recipes import Recipe
from umlite.cpu.compiler import CompilerError
from umlite.cpu.heads import Heads
from umlite.cpu.libraries import load
from umlite.cpu.swin_unetr import NativeSwinUNETR
from umlite.kernels.implementations import REFERENCE
from umlite.models.config import SwinUNETRConfig
from umlite.models.swin_unetr import SwinUNETR
from umlite.weights.loading import load_model

try:
    load("winograd")
except CompilerError as error:
    pytest.skip(str(error), allow_module_level=True)


def random_network(feature_size: int) -> SwinUNETR:
    torch.manual_seed(0)
    net = SwinUNETR(SwinUNETRConfig(feature_size)).requires_grad_(False)
    for name, tensor in net.state_dict().items():
        if tensor.ndim > 1 and "table" not in name:
            tensor.normal_(std=(2 / tensor[0].numel()) ** 0.5)
        elif tensor.is_floating_point():
            tensor.normal_()
    return net


# At least 4 voxels in the bottleneck: an instance norm over fewer blows rounding up.
@pytest.mark.parametrize(("feature_size", "window"), [(12, (64, 64, 32)), (24, (32, 64, 64))])
def test_agrees_with_float64(feature_size: int, window) -> None:
    net = random_network(feature_size)
    image = torch.rand(1, 1, *window)
    native = NativeSwinUNETR(net, window, threads=2, keep=False)
    eager = net(image)
    exact = net.double()(image.double())
    native.image[...] = image[0, 0].numpy()
    for _ in range(2):  # nothing of the first window may be left in the second
        native.run()
    for found, torch32, right in zip((native.bottleneck, native.feature), eager, exact, strict=True):
        error, rounding = values64(found) - right, torch32.double() - right
        assert error.square().mean() < 2**2 * rounding.square().mean()
        assert error.abs().max() < 4 * rounding.abs().max()


def test_threads_and_reruns_give_the_same_bits() -> None:
    assert_same_bits(NativeSwinUNETR, random_network(12), (32, 32, 64))


def test_refuses_windows_that_cannot_be_halved_five_times() -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        NativeSwinUNETR(random_network(12), (32, 32, 48), 1, keep=False)


@pytest.mark.slow
@pytest.mark.usefixtures("all_threads")
@pytest.mark.parametrize("name", ["swinunetr", "swinunetr_perclass"])
def test_window_agrees_with_the_published_code(name: str, shared: Path, recipe: Recipe) -> None:
    model, _ = load_model(recipe.weights(name), REFERENCE)
    expected = load_file(shared / "golden" / f"patch_{name}.safetensors")
    deviation = expected["logits_std"]
    native = NativeSwinUNETR(model.backbone, (96, 96, 96), threads=2, keep=False)
    native.image[...] = recipe.patch(0)[0, 0].numpy()
    native.run()
    logits = torch.from_numpy(Heads(model, native.feature, native.bottleneck, 2).logits(range(len(deviation))))
    error = (logits[:, ::6, ::6, ::6] - expected["logits_strided"]).abs().amax(dim=(1, 2, 3)) / deviation
    assert error.max() < 1e-3
    flat = logits.flatten(1).double()
    assert ((flat.mean(1) - expected["logits_mean"]).abs() / deviation).max() < 1e-3
    assert ((flat.std(1) - deviation).abs() / deviation).max() < 1e-3
