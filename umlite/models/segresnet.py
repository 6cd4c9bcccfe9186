"""SegResNet (arXiv 1810.11654, without its autoencoder), as MONAI defines it (Apache-2.0): names and numbers agree."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from umlite.models.config import SegResNetConfig


class Conv(nn.Module):
    """A convolution without bias, under MONAI's extra level of names."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class ResidualBlock(nn.Module):
    """The input plus two convolutions 3^3, each behind a group norm and ReLU."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels)
        self.conv1 = Conv(channels, channels)
        self.norm2 = nn.GroupNorm(groups, channels)
        self.conv2 = Conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x)))
        return x + self.conv2(F.relu(self.norm2(y)))


class Doubled(nn.Module):
    """Trilinear interpolation onto a grid of twice the size."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2.0, mode="trilinear", align_corners=False)


class SegResNet(nn.Module):
    """[N, 1, D, H, W] -> bottleneck [N, 8C, D/8, H/8, W/8] and feature [N, C, D, H, W]; D, H, W multiples of 8.

    The feature is what MONAI's last group norm reads. Submodules carry MONAI's names.
    """

    def __init__(self, config: SegResNetConfig) -> None:
        super().__init__()
        widths = [config.filters << level for level in range(4)]

        def blocks(count: int, channels: int) -> list[nn.Module]:
            return [ResidualBlock(channels, config.groups) for _ in range(count)]

        self.convInit = Conv(1, config.filters)
        self.down_layers = nn.ModuleList(
            nn.Sequential(
                nn.Identity() if level == 0 else Conv(widths[level - 1], widths[level], stride=2),
                *blocks(count, widths[level]),
            )
            for level, count in enumerate(config.blocks_down)
        )
        coarse_first = list(zip(config.blocks_up, widths[2::-1], strict=True))
        self.up_layers = nn.ModuleList(nn.Sequential(*blocks(count, width)) for count, width in coarse_first)
        self.up_samples = nn.ModuleList(
            nn.Sequential(Conv(2 * width, width, 1), Doubled()) for _, width in coarse_first
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.convInit(x)
        levels: list[Tensor] = []
        for down in self.down_layers:
            x = down(x)
            levels.append(x)
        bottleneck = levels.pop()
        for up_sample, up_layer in zip(self.up_samples, self.up_layers, strict=True):
            x = up_layer(up_sample(x) + levels.pop())
        return bottleneck, x
