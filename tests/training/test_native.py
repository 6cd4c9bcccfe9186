from __future__ import annotations

import pytest
import torch
from torch import Tensor

from umlite.models.config import UNetConfig
from umlite.models.unet import UNet
from umlite.training import native
from umlite.training.native_layers import Pool, weight_gradient
from umlite.training.network import dynamic_heads_batched

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
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 16), (1, 32), (16, 16), (48, 16), (16, 80)])
def test_gradient_of_weights(grid: tuple[int, int, int], inputs: int, outputs: int) -> None:
    torch.manual_seed(0)
    x, dy = torch.randn(*grid, inputs).relu(), torch.randn(*grid, outputs)
    right = exact_weight_gradient(x, dy)
    error = weight_gradient(x, dy).double() - right
    assert float(error.norm() / right.norm()) < 3e-6
    assert float(error.abs().max() / right.abs().max()) < 2e-5


def exact_weight_gradient(x: Tensor, dy: Tensor) -> Tensor:
    first = [t.double().permute(3, 0, 1, 2)[None] for t in (x, dy)]
    weight = torch.zeros(dy.shape[-1], x.shape[-1], 3, 3, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(torch.nn.functional.conv3d(first[0], weight, padding=1), weight, first[1])
    return gradient


@pytest.mark.parametrize("voxels", [1, 255, 256, 1003])
def test_heads_and_their_gradients(voxels: int) -> None:
    torch.manual_seed(0)
    h, params = torch.randn(2, 8, voxels, requires_grad=True), torch.randn(2, 5, 153, requires_grad=True)
    exact = [t.detach().double().requires_grad_() for t in (h, params)]
    found, right = native.dynamic_heads(h, params), dynamic_heads_batched(*exact)
    weights = torch.randn(found.shape)
    pairs = zip(
        (found, *torch.autograd.grad(found, (h, params), weights)),
        (right, *torch.autograd.grad(right, exact, weights.double())),
        strict=True,
    )
    for a, b in pairs:
        assert float((a - b).detach().norm() / b.detach().norm()) < 1e-6


def test_maximum_gives_its_gradient_to_the_first_of_equals() -> None:
    x = torch.randint(0, 3, (6, 4, 8, 32)).float().requires_grad_()
    y = torch.nn.functional.max_pool3d(x.permute(3, 0, 1, 2)[None], 2)[0].permute(1, 2, 3, 0)
    same, found = Pool.apply(x)
    assert torch.equal(found, y)
    dx, dy = torch.randn(x.shape), torch.randn(y.shape)
    (right,) = torch.autograd.grad(y, x, dy)
    (gradient,) = torch.autograd.grad((same, found), x, (dx, dy))
    torch.testing.assert_close(gradient, right + dx)
