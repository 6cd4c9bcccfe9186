"""The SegResNet backbone (umlite/models/segresnet.py) on the native CPU kernels, one window at a time.

A residual block has no passes of its own: its second convolution adds into the tensor that the block began with, and
takes the statistics of the sum for the group norm of the next. A level's tensor is at once what the encoder leaves for
the decoder and what the decoder adds to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import nn

from umlite.cpu.activation import Activation, Floats, Grid
from umlite.cpu.convolution import Norm
from umlite.cpu.network import NativeNetwork
from umlite.cpu.packing import floats
from umlite.models.config import SegResNetConfig
from umlite.models.segresnet import Conv, ResidualBlock, SegResNet


class NativeSegResNet(NativeNetwork[SegResNet]):
    """A SegResNet. `feature` is [D, H, W, C], and `bottleneck` [D/8, H/8, W/8, 8 C], with nothing pending."""

    window_multiple = SegResNetConfig.window_multiple

    def _lay_out(self, model: SegResNet, window: Grid) -> tuple[Activation, Activation]:
        depth, height, width = window
        first = _weight(model.convInit)
        levels = [
            self.net.tensor((depth >> level, height >> level, width >> level), len(first) << level)
            for level in range(4)
        ]
        # One more tensor of full resolution is enough, for what lies between two layers of any level.
        self._between = self.net.tensor(window, len(first))

        for level, (x, down) in enumerate(zip(levels, model.down_layers, strict=True)):
            before, *blocks = cast(nn.Sequential, down)
            norm = _norm(cast(ResidualBlock, blocks[0]).norm1)
            if level == 0:
                self.net.image_convolution("convInit", first, self.image, x, norm=norm)
            else:
                weight = _weight(cast(Conv, before))
                self.net.strided_convolution(f"down_layers.{level}.0", weight, levels[level - 1], x, norm=norm)
            self._blocks(f"down_layers.{level}", 1, blocks, x)
        finer = levels[2::-1]
        for i, (x, sample, up) in enumerate(zip(finer, model.up_samples, model.up_layers, strict=True)):
            narrow, blocks = cast(Conv, cast(nn.Sequential, sample)[0]), list(cast(nn.Sequential, up))
            coarse = levels[3 - i]
            y = self.net.tensor(coarse.grid, x.channels, storage=self._between)
            self.net.convolution(f"up_samples.{i}.0", _weight(narrow), _as_stored(coarse), y)
            self.net.upsampling(f"up_samples.{i}.1", y, x, norm=_norm(cast(ResidualBlock, blocks[0]).norm1))
            self._blocks(f"up_layers.{i}", 0, blocks, x)
        return _as_stored(levels[0]), _as_stored(levels[3])

    def _blocks(self, name: str, first: int, blocks: Sequence[nn.Module], x: Activation) -> None:
        """A level's blocks, in place. first: number of the first. x: with the first norm of the first block pending."""
        for number, block in enumerate(cast(Sequence[ResidualBlock], blocks)):
            last = number + 1 == len(blocks)
            following = None if last else _norm(cast(ResidualBlock, blocks[number + 1]).norm1)
            y = self.net.tensor(x.grid, x.channels, storage=self._between)
            label = f"{name}.{first + number}"
            self.net.convolution(f"{label}.conv1", _weight(block.conv1), x, y, norm=_norm(block.norm2))
            self.net.convolution(f"{label}.conv2", _weight(block.conv2), y, x, norm=following, accumulate=True)


def _as_stored(x: Activation) -> Activation:
    """A tensor without what its other readers apply."""
    return Activation.plain(x.data, x.channels)


def _weight(conv: Conv) -> Floats:
    return floats(conv.conv.weight)


def _norm(norm: nn.GroupNorm) -> Norm:
    return Norm(floats(norm.weight), floats(norm.bias), norm.eps, norm.num_channels // norm.num_groups)
