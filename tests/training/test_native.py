from __future__ import annotations

import pytest
import torch
from torch import Tensor

from umlite.models.config import UNetConfig
from umlite.models.unet import UNet
from umlite.training import native

pytestmark = pytest.mark.skipif(not native.available(), reason="no C compiler")


def outputs_and_gradients(network: UNet, voxels: Tensor, by_hand: bool) -> tuple[list[Tensor], dict[str, Tensor]]:
    outputs = native.unet(network, voxels) if by_hand else network(voxels)
    weights = torch.Generator().manual_seed(2)
    loss = sum((t * torch.randn(t.shape, generator=weights).to(t.dtype)).sum() for t in outputs)
    names, parameters = zip(*network.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
    return [t.detach() for t in outputs], dict(zip(names, gradients, strict=True))


@pytest.mark.parametrize("channels", [(16, 32, 48, 64), (8, 24, 40, 48)])
def test_the_same_network_and_the_same_gradients(channels: tuple[int, int, int, int]) -> None:
    torch.manual_seed(1)
    network = UNet(UNetConfig(channels))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "bn1" in name:
                parameter += 0.3 * torch.randn_like(parameter)
    voxels = torch.nn.functional.avg_pool3d(torch.rand(1, 1, 24, 24, 32), 3, 1, 1)
    found, found_gradients = outputs_and_gradients(network, voxels, by_hand=True)
    exact = UNet(UNetConfig(channels)).double()
    exact.load_state_dict(network.state_dict())
    right, gradients = outputs_and_gradients(exact, voxels.double(), by_hand=False)
    for a, b in zip(found, right, strict=True):
        assert a.shape == b.shape
        assert float((a - b).norm() / b.norm()) < 1e-5
    for name, gradient in gradients.items():
        if not name.endswith("conv1.bias"):  # zero, but for rounding; elsewhere a ReLU near zero may flip
            assert float((found_gradients[name] - gradient).norm() / gradient.norm()) < 1e-2, name


def test_equal_answers_every_time() -> None:
    torch.manual_seed(1)
    network, voxels = UNet(UNetConfig((16, 16, 16, 16))), torch.rand(1, 1, 24, 24, 24)
    first, gradients = outputs_and_gradients(network, voxels, by_hand=True)
    second, again = outputs_and_gradients(network, voxels, by_hand=True)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(torch.equal(gradients[name], again[name]) for name in gradients)


@pytest.mark.parametrize("grid", [(5, 6, 7), (8, 12, 4), (9, 11, 13), (16, 17, 18), (3, 1, 40), (2, 2, 101)])
@pytest.mark.parametrize(("inputs", "outputs"), [(16, 16), (48, 16), (16, 80)])
def test_gradient_of_weights(grid: tuple[int, int, int], inputs: int, outputs: int) -> None:
    torch.manual_seed(0)
    x, dy = torch.randn(*grid, inputs).relu(), torch.randn(*grid, outputs)
    right = exact_weight_gradient(x, dy)
    error = native.weight_gradient(x, dy).double() - right
    assert float(error.norm() / right.norm()) < 3e-6
    assert float(error.abs().max() / right.abs().max()) < 2e-5


def exact_weight_gradient(x: Tensor, dy: Tensor) -> Tensor:
    first = [t.double().permute(3, 0, 1, 2)[None] for t in (x, dy)]
    weight = torch.zeros(dy.shape[-1], x.shape[-1], 3, 3, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(torch.nn.functional.conv3d(first[0], weight, padding=1), weight, first[1])
    return gradient
