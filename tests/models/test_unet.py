"""The U-Net: what its normalisation means, and that windows do not see each other."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from support.samples import SMALL_UNET, small_model
from umlite.kernels.implementations import FAST, REFERENCE, KernelSet
from umlite.models.unet import UNet, WindowNormReLU


@pytest.mark.parametrize("kernels", [REFERENCE, FAST], ids=["reference", "fast"])
@torch.no_grad()
def test_window_norm_is_batch_norm_in_training_mode_on_one_window(kernels: KernelSet) -> None:
    norm = WindowNormReLU(5, kernels.norm_act)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(3, 5, 4, 6, 2) * 3 + 1
    for window, answer in zip(x, norm(x), strict=True):
        published = F.batch_norm(window[None], None, None, norm.weight, norm.bias, training=True, eps=1e-5)
        torch.testing.assert_close(answer[None], published.relu(), atol=1e-6, rtol=1e-5)


@torch.inference_mode()
def test_a_window_is_not_changed_by_its_batch() -> None:
    model = small_model("unet")
    x = torch.rand(3, 1, 16, 24, 32)
    x[1] *= 100
    together = model(x)
    for number in range(3):
        alone = model(x[number : number + 1])[0]
        assert ((together[number] - alone).abs().amax(dim=(1, 2, 3)) / alone.std(dim=(1, 2, 3))).max() < 1e-3


@torch.inference_mode()
def test_shapes_follow_the_configuration() -> None:
    bottleneck, feature = UNet(SMALL_UNET)(torch.rand(2, 1, 16, 24, 32))
    assert bottleneck.shape == (2, 32, 2, 3, 4)
    assert feature.shape == (2, 16, 16, 24, 32)
