"""The U-Net backbone (umlite/models/unet.py) on the native CPU kernels, one window at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from umlite.cpu.activation import Activation, Floats, Grid, padded
from umlite.cpu.buffers import Arena
from umlite.cpu.convolution import Norm
from umlite.cpu.network import NativeNetwork
from umlite.cpu.packing import floats
from umlite.models.config import UNetConfig
from umlite.models.unet import ConvNormReLU, Down, UNet, Up


class NativeUNet(NativeNetwork[UNet]):
    """A U-Net. `feature` is [D, H, W, channels[0]], and `bottleneck` [D/8, H/8, W/8, channels[3]].

    Both have the norm's scale and shift and a ReLU pending.
    """

    window_multiple = UNetConfig.window_multiple

    def _lay_out(self, model: UNet, window: Grid) -> tuple[Activation, Activation]:
        depth, height, width = window
        self.grids = [(depth >> i, height >> i, width >> i) for i in range(4)]
        # Two tensors of full resolution are enough: the skip, which becomes the feature; and an arena for the first
        # layer's output, then for the coarser levels, then for the finest decoder's first output.
        channels = _blocks(model.down_tr64)[1].channels
        high, self.arena = self.net.tensor(window, channels), self.net.arena(*window, padded(channels))

        pooled = self._first_level(model.down_tr64, high)
        self.arena.reuse()
        skip1, pooled = self._down(1, model.down_tr128, pooled)
        skip2, pooled = self._down(2, model.down_tr256, pooled)
        bottleneck, _ = self._down(3, model.down_tr512, pooled)
        y = self._up(2, model.up_tr256, bottleneck, skip2, self.arena)
        y = self._up(1, model.up_tr128, y, skip1, None)
        self.arena.reuse()
        return self._up(0, model.up_tr64, y, high, high), bottleneck

    def _first_level(self, down: Down, high: Activation) -> Activation:
        first, second = _blocks(down)
        x = self.net.tensor(high.grid, first.channels, storage=self.arena)
        self.net.image_convolution("down_tr64.0", first.weight, self.image, x, norm=first.norm)
        pool = self.net.tensor(self.grids[1], second.channels)
        self.net.convolution("down_tr64.1", second.weight, x, high, norm=second.norm, pool=pool)
        return pool

    def _down(self, level: int, down: Down, pooled: Activation) -> tuple[Activation, Activation]:
        """A level's output (the skip) and its 2^3 maximum, which the next level reads (on the last level nobody)."""
        first, second = _blocks(down)
        channels = second.channels
        middle = self.net.tensor(self.grids[level], first.channels, storage=self.arena)
        y = self.net.tensor(self.grids[level], channels, storage=self.arena if level < 3 else None)
        pool = self.net.tensor(self.grids[level + 1], channels, storage=self.arena) if level < 3 else None
        name = f"down_tr{64 << level}"
        self.net.convolution(f"{name}.0", first.weight, pooled, middle, norm=first.norm)
        self.net.convolution(f"{name}.1", second.weight, middle, y, norm=second.norm, pool=pool)
        return y, pool or y

    def _up(
        self,
        level: int,
        up: Up,
        source: Activation,
        skip: Activation,
        storage: Activation | Arena | None,
    ) -> Activation:
        first, second = _blocks(up)
        name, grid = f"up_tr{64 << level}", self.grids[level]
        transposed, bias = floats(up.up_conv.weight), floats(up.up_conv.bias)
        weight, inputs = first.weight, transposed.shape[1]  # of the concatenation: the upsampled half comes first
        middle = self.net.tensor(grid, len(weight), storage=self.arena)
        self.net.up_convolution(f"{name}.0.up", weight[:, :inputs], transposed, source, middle, bias=bias)
        self.net.convolution(f"{name}.0.skip", weight[:, inputs:], skip, middle, norm=first.norm, accumulate=True)
        y = self.net.tensor(grid, second.channels, storage=storage)
        self.net.convolution(f"{name}.1", second.weight, middle, y, norm=second.norm)
        return y


@dataclass(frozen=True)
class _Block:
    """Convolution 3^3 and norm: weight [outputs, inputs, 3, 3, 3]."""

    weight: Floats
    norm: Norm

    @property
    def channels(self) -> int:
        return len(self.weight)


def _blocks(level: Down | Up) -> tuple[_Block, _Block]:
    first, second = (cast(ConvNormReLU, block) for block in level.ops)
    return _block(first), _block(second)


def _block(block: ConvNormReLU) -> _Block:
    return _Block(floats(block.conv1.weight), Norm(floats(block.bn1.weight), floats(block.bn1.bias)))
