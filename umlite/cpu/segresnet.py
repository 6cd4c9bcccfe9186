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
from umlite.cpu.algorithms import WEIGHT_LIMIT_BYTES
from umlite.cpu.assembly import Assembly
from umlite.cpu.convolution import Norm
from umlite.cpu.packing import floats
from umlite.machine.processor import Machine
from umlite.models.segresnet import Conv, ResidualBlock, SegResNet
from umlite.progress import Notify, no_notice


class NativeSegResNet:
    """A SegResNet's kernels and memory for windows of one size; the torch module is not needed afterwards.

    `run` reads `image`, [D, H, W] float32 in [0, 1], and rewrites `feature`, [D, H, W, C], and `bottleneck`,
    [D/8, H/8, W/8, 8 C], with nothing pending.

    Args:
        model: its parameters are packed.
        window: (D, H, W), multiples of 8.
        threads: threads of every layer.
        weight_limit_bytes, keep, notify, count_only: see `Assembly`.

    Raises:
        CompilerError: the kernels cannot be built.
        ValueError: another kind of window.
    """

    weight_limit_bytes = WEIGHT_LIMIT_BYTES

    def __init__(
        self,
        model: SegResNet,
        window: Grid,
        threads: int,
        *,
        weight_limit_bytes: int = weight_limit_bytes,
        keep: bool = True,
        notify: Notify = no_notice,
        count_only: bool = False,
    ) -> None:
        if any(side < 8 or side % 8 for side in window):
            raise ValueError(f"Expected window sides that are multiples of 8, found {window}.")
        depth, height, width = window
        self.net = Assembly(
            Machine.here(threads),
            weight_limit_bytes=weight_limit_bytes,
            keep=keep,
            notify=notify,
            count_only=count_only,
        )
        self.image = self.net.allot(*window)
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
        self.feature, self.bottleneck = _as_stored(levels[0]), _as_stored(levels[3])
        self.net.prepare()

    def run(self) -> None:
        """Compute one window, from `image` to `feature` and `bottleneck`."""
        self.net.run()

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
