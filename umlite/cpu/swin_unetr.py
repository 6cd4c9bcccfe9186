"""The Swin UNETR backbone (umlite/models/swin_unetr.py) on a CPU, one window at a time.

Its convolutions run on the native kernels, a residual block without passes of its own: what reads a block's output adds
the two normalised halves and applies the leaky ReLU. The transformer runs on torch.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from umlite.cpu import buffers
from umlite.cpu.activation import IDENTITY, Activation, Floats, Grid, padded
from umlite.cpu.assembly import Assembly
from umlite.cpu.compiler import Notify
from umlite.cpu.convolution import Norm
from umlite.cpu.machine import Machine
from umlite.cpu.plan import WEIGHT_LIMIT_BYTES
from umlite.models.swin_unetr import DecoderBlock, ResidualBlock, SwinTransformer, SwinUNETR

LEAK = 0.01
EPS = 1e-5


class NativeSwinUNETR:
    """A Swin UNETR's kernels and memory for windows of one size. model: with fast kernels; its transformer is kept.

    window: (D, H, W), multiples of 32. threads: of every convolution; torch has its own number.
    image: [D, H, W] float32 in [0, 1], what `run` reads. feature, bottleneck: what it rewrites, [D, H, W, C] and
    [D/32, H/32, W/32, 16 C], with norms, residual and leaky ReLU pending.
    weight_limit_bytes, keep, notify: see `Assembly`.
    Raises CompilerError where the kernels cannot be built, ValueError on a window of another kind.
    """

    def __init__(
        self,
        model: SwinUNETR,
        window: Grid,
        threads: int,
        *,
        weight_limit_bytes: int = WEIGHT_LIMIT_BYTES,
        keep: bool = True,
        notify: Notify | None = None,
    ) -> None:
        if any(side < 32 or side % 32 for side in window):
            raise ValueError(f"Expected window sides that are multiples of 32, found {window}.")
        self.net = Assembly(Machine.here(threads), weight_limit_bytes=weight_limit_bytes, keep=keep, notify=notify)
        self.image = buffers.zeros(*window)
        self._transformer: SwinTransformer = model.swinViT
        channels = len(_weight(model.encoder1.layer.conv1))
        depth, height, width = window
        grids = [(depth >> i, height >> i, width >> i) for i in range(6)]
        self._maps = [self.net.tensor(grids[i + 1], channels << i, slope=IDENTITY) for i in range(5)]
        self.net.step("transformer", self._transform)

        # Three tensors of full resolution are enough: the decoder's take over where the encoder's have been read.
        low, high, side = (self.net.tensor(window, channels) for _ in range(3))
        skip0 = self._image_block(model.encoder1.layer, low, high)
        skips = [
            self._block(f"encoder{i}", block.layer, self._maps[i - 2])
            for i, block in ((2, model.encoder2), (3, model.encoder3), (4, model.encoder4))
        ]
        self.bottleneck = y = self._block("encoder10", model.encoder10.layer, self._maps[4])
        y = self._decode("decoder5", model.decoder5, y, self._maps[3])
        for number, block in ((4, model.decoder4), (3, model.decoder3), (2, model.decoder2)):
            y = self._decode(f"decoder{number}", block, y, skips.pop())
        self.feature = self._decode("decoder1", model.decoder1, y, skip0, (low, side, high))
        self.net.prepare()

    def run(self) -> None:
        """One window: from `image` to `feature` and `bottleneck`."""
        self.net.run()

    @torch.inference_mode()
    def _transform(self) -> None:
        """The five maps: tokens after each stage, normalised over their channels."""
        transformer = self._transformer
        tokens = transformer.patch_embed(torch.from_numpy(self.image)[None, None])
        stages = (transformer.layers1, transformer.layers2, transformer.layers3, transformer.layers4)
        for number, target in enumerate(self._maps):
            if number:
                tokens = stages[number - 1][0](tokens)  # type: ignore[index, operator]
            torch.from_numpy(target.data)[..., : target.channels] = F.layer_norm(tokens, tokens.shape[-1:])[0]

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

        def normalise() -> None:
            mean, variance = self.image.mean(dtype=np.float64), self.image.var(dtype=np.float64)
            factor = residual_weight / np.sqrt(residual_weight**2 * variance + EPS)
            scale[: len(factor)], shift[: len(factor)] = factor, -factor * mean

        self.net.step("encoder1.conv3", normalise)
        return y

    def _block(self, name: str, block: ResidualBlock, source: Activation) -> Activation:
        """A residual block that keeps grid and channels."""
        first, second = _weight(block.conv1), _weight(block.conv2)
        middle = self._tensor(source.grid, len(first))
        self.net.convolution(f"{name}.conv1", first, source, middle, norm=Norm.plain(len(first)))
        y = self._tensor(source.grid, len(second))
        self.net.convolution(f"{name}.conv2", second, middle, y, norm=Norm.plain(len(second)))
        y.residual = source
        return y

    def _decode(
        self,
        name: str,
        block: DecoderBlock,
        source: Activation,
        skip: Activation,
        storage: tuple[Activation | None, Activation | None, Activation | None] = (None, None, None),
    ) -> Activation:
        """Both convolutions of the concatenation, each with the transposed convolution merged into its first half."""
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

    def _tensor(self, grid: Grid, channels: int, storage: Activation | None = None, slope: float = LEAK) -> Activation:
        return self.net.tensor(grid, channels, slope=slope, storage=storage)


def _weight(conv: torch.nn.Module | None) -> Floats:
    assert conv is not None
    weight: Tensor = conv.conv.weight  # type: ignore[assignment, union-attr]
    array: Floats = weight.detach().float().cpu().numpy()
    return array
