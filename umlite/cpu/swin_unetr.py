"""The Swin UNETR backbone (umlite/models/swin_unetr.py) on a CPU, one window at a time.

The transformer comes first (umlite/cpu/transformer.py), then convolutions. A residual block has no passes of its own:
what reads a block's output adds the two normalised halves and applies the leaky ReLU.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from torch import nn

from umlite.cpu.activation import IDENTITY, Activation, Floats, Grid, padded
from umlite.cpu.buffers import Arena
from umlite.cpu.convolution import Norm
from umlite.cpu.network import NativeNetwork
from umlite.cpu.packing import floats
from umlite.cpu.transformer import NativeTransformer
from umlite.models.config import SwinUNETRConfig
from umlite.models.swin_unetr import DecoderBlock, ResidualBlock, SwinUNETR

Storage = Activation | Arena | None
"""Where a tensor's memory comes from: another activation, an arena, or None for its own."""

LEAK = 0.01
EPS = 1e-5


class NativeSwinUNETR(NativeNetwork[SwinUNETR]):
    """A Swin UNETR. `feature` is [D, H, W, C], and `bottleneck` [D/32, H/32, W/32, 16 C].

    Both have norms, residual and leaky ReLU pending.
    """

    window_multiple = SwinUNETRConfig.window_multiple
    weight_limit_bytes = 20 << 20
    """Default limit of a layer: 240 MB less than with the U-Net's, for a tenth of the speed."""

    def _lay_out(self, model: SwinUNETR, window: Grid) -> tuple[Activation, Activation]:
        channels = len(_weight(model.encoder1.layer.conv1))
        depth, height, width = window
        grids = [(depth >> i, height >> i, width >> i) for i in range(6)]
        # Three tensors of full resolution are enough. The first serves the transformer before the encoder writes it,
        # the last everything that is coarser and read before the finest decoder writes it.
        low, high = self.net.tensor(window, channels), self.net.tensor(window, channels)
        coarse = self.net.arena(*window, padded(channels))
        *maps, last = (
            self._tensor(grids[i + 1], channels << i, coarse if i < 4 else None, slope=IDENTITY) for i in range(5)
        )
        self._transform(model, [*maps, last], low.data)
        skip0 = self._image_block(model.encoder1.layer, low, high)
        skips = [
            self._block(f"encoder{i}", block.layer, maps[i - 2], coarse, coarse)
            for i, block in ((2, model.encoder2), (3, model.encoder3), (4, model.encoder4))
        ]
        bottleneck = y = self._block("encoder10", model.encoder10.layer, last, coarse, None)
        y = self._decode("decoder5", model.decoder5, y, maps[3], (coarse, coarse, coarse))
        y = self._decode("decoder4", model.decoder4, y, skips[2], (coarse, coarse, coarse))
        y = self._decode("decoder3", model.decoder3, y, skips[1], (coarse, coarse, coarse))
        y = self._decode("decoder2", model.decoder2, y, skips[0], (coarse, None, None))
        coarse.reuse()
        return self._decode("decoder1", model.decoder1, y, skip0, (low, coarse, high)), bottleneck

    def _transform(self, model: SwinUNETR, maps: list[Activation], storage: Floats) -> None:
        net = self.net
        transformer = NativeTransformer(
            model.swinViT, self.image, maps, net.machine.threads, storage=storage, allot=net.allot, notify=net.notify
        )
        net.bytes += transformer.weight_bytes
        for name, call in transformer.steps:
            net.step(name, call)
        if not net.count_only:
            transformer.prepare(keep=net.keep)

    def _image_block(self, block: ResidualBlock, middle: Activation, storage: Activation) -> Activation:
        """The residual block of the image itself: its 1^3 half needs no tensor, only the image's mean and variance."""
        first, second = _weight(block.conv1), _weight(block.conv2)
        residual_weight = _weight(block.conv3)[:, 0, 0, 0, 0].astype(np.float64)
        middle = self._tensor(middle.grid, len(first), middle)
        self.net.image_convolution("encoder1.conv1", first, self.image, middle, norm=Norm.plain(len(first)))
        y = self._tensor(middle.grid, len(second), storage)
        self.net.convolution("encoder1.conv2", second, middle, y, norm=Norm.plain(len(second)))
        scale, shift = (np.zeros(padded(len(second)), np.float32) for _ in range(2))
        y.residual = Activation(self.image[..., None], len(second), scale, shift)

        image = self.image  # not by way of self, which would then keep itself in memory

        def normalise() -> None:
            mean, variance = image.mean(dtype=np.float64), image.var(dtype=np.float64)
            factor = residual_weight / np.sqrt(residual_weight**2 * variance + EPS)
            scale[: len(factor)], shift[: len(factor)] = factor, -factor * mean

        self.net.step("encoder1.conv3", normalise)
        return y

    def _block(
        self, name: str, block: ResidualBlock, source: Activation, middle: Storage, storage: Storage
    ) -> Activation:
        """A residual block that keeps grid and channels. middle, storage: for the first convolution and the second."""
        first, second = _weight(block.conv1), _weight(block.conv2)
        between = self._tensor(source.grid, len(first), middle)
        self.net.convolution(f"{name}.conv1", first, source, between, norm=Norm.plain(len(first)))
        y = self._tensor(source.grid, len(second), storage)
        self.net.convolution(f"{name}.conv2", second, between, y, norm=Norm.plain(len(second)))
        y.residual = source
        return y

    def _decode(
        self,
        name: str,
        block: DecoderBlock,
        source: Activation,
        skip: Activation,
        storage: tuple[Storage, Storage, Storage],
    ) -> Activation:
        """Both convolutions of the concatenation, each with the transposed convolution merged into its first half.

        storage: for the first 3^3 convolution, the 1^3 convolution and the second 3^3 convolution.
        """
        transposed, layer = _weight(block.transp_conv), block.conv_block
        upsampled, second = transposed.shape[1], _weight(layer.conv2)
        made = []
        for part, conv, store in (("conv1", layer.conv1, storage[0]), ("conv3", layer.conv3, storage[1])):
            weight = _weight(conv)
            y = self._tensor(skip.grid, len(weight), store, LEAK if part == "conv1" else IDENTITY)
            self.net.up_convolution(f"{name}.{part}.up", weight[:, :upsampled], transposed, source, y)
            norm = Norm.plain(len(weight))
            self.net.convolution(f"{name}.{part}.skip", weight[:, upsampled:], skip, y, norm=norm, accumulate=True)
            made.append(y)
        y = self._tensor(skip.grid, len(second), storage[2])
        self.net.convolution(f"{name}.conv2", second, made[0], y, norm=Norm.plain(len(second)))
        y.residual = made[1]
        return y

    def _tensor(self, grid: Grid, channels: int, storage: Storage, slope: float = LEAK) -> Activation:
        return self.net.tensor(grid, channels, slope=slope, storage=storage)


def _weight(conv: nn.Module | None) -> Floats:
    return floats(cast(nn.Conv3d, cast(Any, conv).conv).weight)
