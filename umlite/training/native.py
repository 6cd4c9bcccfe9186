"""A differentiable U-Net on a CPU, on the convolution kernels of inference: several times faster than torch.

A layer is convolution 3^3 (mostly by Winograd's algorithm), window norm and ReLU in one; a bias before a norm cancels
and is left out. The layers, and how tensors lie in memory: `umlite.training.native_layers`.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from umlite.models import unet as models
from umlite.models.unet import UNet, Up
from umlite.training.native_layers import INNER, ConvNormReLU, Heads, Join, Pool, available

__all__ = ["INNER", "available", "dynamic_heads", "unet"]


def unet(network: UNet, voxels: Tensor) -> tuple[Tensor, Tensor]:
    """`network(voxels)`, differentiable in all parameters of the network, not in the voxels.

    Biases in front of a norm take no part: their gradient is zero, rounding apart, and autograd calls them unused.

    Args:
        network: of any width.
        voxels: [1, 1, D, H, W] float32, D, H and W multiples of 8.

    Returns:
        Bottleneck and feature, channels last in memory.
    """
    skip64, x = Pool.apply(_layers(network.down_tr64.ops, voxels[0, 0, ..., None]))
    skip128, x = Pool.apply(_layers(network.down_tr128.ops, x))
    skip256, x = Pool.apply(_layers(network.down_tr256.ops, x))
    bottleneck = _layers(network.down_tr512.ops, x)
    y = _up(network.up_tr256, bottleneck, skip256)
    y = _up(network.up_tr128, y, skip128)
    feature = _up(network.up_tr64, y, skip64)
    widths = (network.down_tr512.ops[1], network.up_tr64.ops[1])
    return cast(
        tuple[Tensor, Tensor],
        tuple(_channels_first(t, _width(layer)) for t, layer in zip((bottleneck, feature), widths, strict=True)),
    )


def _up(level: Up, x: Tensor, skip: Tensor) -> Tensor:
    """One level up. The transposed convolution (2^3, stride 2) is a matrix product: each voxel's row becomes eight."""
    weight, bias = level.up_conv.weight, cast(Tensor, level.up_conv.bias)
    inputs, outputs = weight.shape[:2]
    table = weight.permute(0, 2, 3, 4, 1).reshape(inputs, -1)
    rows = torch.addmm(bias.repeat(8), x[..., :inputs].reshape(-1, inputs), table).view(*x.shape[:3], 8, outputs)
    return _layers(level.ops, Join.apply(rows, skip, _inputs(level.ops) - outputs))


def _layers(layers: Any, x: Tensor) -> Tensor:
    for layer in layers:
        x = ConvNormReLU.apply(x, layer.conv1.weight, layer.bn1.weight, layer.bn1.bias)
    return x


def _inputs(layers: Any) -> int:
    return int(layers[0].conv1.in_channels)


def _width(layer: Any) -> int:
    return int(cast(models.ConvNormReLU, layer).conv1.out_channels)


def _channels_first(x: Tensor, channels: int) -> Tensor:
    """[D, H, W, stored] -> [1, channels, D, H, W], no copy."""
    return x[..., :channels].permute(3, 0, 1, 2)[None]


def dynamic_heads(h: Tensor, params: Tensor) -> Tensor:
    """`umlite.kernels.dynamic_heads`, differentiable. h: [N, INNER, V] float32. Returns [N, classes, V]."""
    return torch.stack([Heads.apply(one, numbers) for one, numbers in zip(h, params, strict=True)])
