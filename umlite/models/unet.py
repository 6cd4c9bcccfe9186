"""The U-Net backbone (arXiv 2405.18356): four levels, normalised over each window."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from umlite.kernels.implementations import REFERENCE, KernelSet
from umlite.models.config import UNetConfig

NormAct = Callable[..., Tensor]


class WindowNormReLU(nn.Module):
    """Normalises each window by its own statistics, applies affine weight and bias, then ReLU.

    The published network runs batch normalisation in training mode on single windows and never uses its running
    statistics. For a single window that is an instance norm, which gives the same in a batch.
    """

    def __init__(self, channels: int, norm_act: NormAct) -> None:
        super().__init__()
        self.norm_act = norm_act
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.norm_act(x, self.weight, self.bias, None, 0.0, 1e-5)


class ConvNormReLU(nn.Module):
    """Convolution 3^3, window norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, norm_act: NormAct) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, outputs, 3, padding=1)
        self.bn1 = WindowNormReLU(outputs, norm_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn1(self.conv1(x))


class Down(nn.Module):
    """Two convolutions, the first to half of the level's channels."""

    def __init__(self, inputs: int, outputs: int, norm_act: NormAct) -> None:
        super().__init__()
        half = outputs // 2
        self.ops = nn.Sequential(ConvNormReLU(inputs, half, norm_act), ConvNormReLU(half, outputs, norm_act))

    def forward(self, x: Tensor) -> Tensor:
        return self.ops(x)


class Up(nn.Module):
    """Transposed convolution 2^3 onto the finer grid, concatenation with the skip, two convolutions."""

    def __init__(self, inputs: int, skip: int, norm_act: NormAct) -> None:
        super().__init__()
        self.up_conv = nn.ConvTranspose3d(inputs, inputs, 2, stride=2)
        self.ops = nn.Sequential(ConvNormReLU(inputs + skip, skip, norm_act), ConvNormReLU(skip, skip, norm_act))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.ops(torch.cat((self.up_conv(x), skip), dim=1))


class UNet(nn.Module):
    """[N, 1, D, H, W] -> bottleneck [N, channels[3], D/8, H/8, W/8] and feature [N, channels[0], D, H, W].

    Submodules carry the published names, whatever their width.
    """

    def __init__(self, config: UNetConfig, kernels: KernelSet = REFERENCE) -> None:
        super().__init__()
        c, norm_act = config.channels, kernels.norm_act
        self.down_tr64 = Down(1, c[0], norm_act)
        self.down_tr128 = Down(c[0], c[1], norm_act)
        self.down_tr256 = Down(c[1], c[2], norm_act)
        self.down_tr512 = Down(c[2], c[3], norm_act)
        self.up_tr256 = Up(c[3], c[2], norm_act)
        self.up_tr128 = Up(c[2], c[1], norm_act)
        self.up_tr64 = Up(c[1], c[0], norm_act)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        skip64 = self.down_tr64(x)
        skip128 = self.down_tr128(F.max_pool3d(skip64, 2))
        skip256 = self.down_tr256(F.max_pool3d(skip128, 2))
        bottleneck = self.down_tr512(F.max_pool3d(skip256, 2))
        y = self.up_tr256(bottleneck, skip256)
        y = self.up_tr128(y, skip128)
        return bottleneck, self.up_tr64(y, skip64)
