"""Merges transposed convolutions into the convolutions that follow: the same function with a third fewer products.

A transposed convolution 2^3 of stride 2 doubles the grid; a convolution 3^3 of the finer grid then reads every coarse
voxel several times. With nothing between them but a concatenation they are, for each of the eight parities of a fine
voxel, one convolution 2^3 of the coarse grid: 8 taps in place of 27, and the upsampled tensor is never made.
"""

from __future__ import annotations

import itertools
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from umlite.models.swin_unetr import EPS, SLOPE, DecoderBlock
from umlite.models.unet import ConvNormReLU, Up

PARITIES = tuple(itertools.product((0, 1), repeat=3))
TAPS = tuple(itertools.product((0, 1, 2), repeat=3))


def merged_kernels(weight: Tensor | None, transposed: Tensor) -> Tensor:
    """Kernels of a transposed convolution 2^3 of stride 2 followed by a convolution: one for each output parity.

    Zero padding agrees on both grids, so the merged layer is exact up to rounding, borders included.

    Args:
        weight: [outputs, middle, k, k, k] of the convolution with k = 1 or 3; None for the transposed one alone.
        transposed: [inputs, middle, 2, 2, 2].

    Returns:
        [8, outputs, inputs, taps] float64; 8 taps for k = 3 (offsets parity - 1 and parity on the coarse grid), else 1.
    """
    inputs, middle = transposed.shape[:2]
    spread = transposed.double().reshape(inputs, middle, 8)
    if weight is None:
        return spread.permute(2, 1, 0).unsqueeze(-1)
    outputs, _, taps, *_ = weight.shape
    rows = weight.double().reshape(outputs, middle, taps**3).permute(2, 0, 1).reshape(taps**3 * outputs, middle)
    if taps == 1:
        return torch.stack([rows @ spread[:, :, sub].T for sub in range(8)]).unsqueeze(-1)
    merged = torch.zeros(8, 8, outputs, inputs, dtype=torch.float64)
    for sub in range(8):  # place of a fine voxel within its coarse voxel
        products = (rows @ spread[:, :, sub].T).reshape(27, outputs, inputs)
        for parity, tap in itertools.product(PARITIES, TAPS):
            fine = [p + t - 1 for p, t in zip(parity, tap, strict=True)]
            if _number([f % 2 for f in fine], 2) == sub:
                coarse = _number([f // 2 + 1 - p for f, p in zip(fine, parity, strict=True)], 2)
                merged[_number(parity, 2), coarse] += products[_number(tap, 3)]
    return merged.permute(0, 2, 3, 1)


class MergedConv(nn.Module):
    """conv(concat(transposed(x), skip)): x [N, inputs, D, H, W], skip [N, C, 2D, 2H, 2W] -> [N, outputs, 2D, 2H, 2W].

    Args:
        conv: 3^3 with padding 1, or 1^3, with or without bias.
        transposed: 2^3 with stride 2, with or without bias.
    """

    def __init__(self, conv: nn.Conv3d, transposed: nn.ConvTranspose3d) -> None:
        super().__init__()
        middle, self.taps = transposed.out_channels, conv.kernel_size[0]
        spread = transposed.weight.detach()
        if transposed.bias is not None:  # one more input that is 1 inside the grid and 0 around it
            spread = torch.cat((spread, transposed.bias.detach().reshape(1, -1, 1, 1, 1).expand(1, -1, 2, 2, 2)))
        self.with_ones = transposed.bias is not None
        kernels = merged_kernels(conv.weight.detach()[:, :middle], spread).float()
        size = 2 if self.taps == 3 else 1
        self.register_buffer("coarse", kernels.reshape(8 * conv.out_channels, len(spread), size, size, size))
        self.coarse: Tensor
        outputs, skipped, bias = conv.out_channels, conv.in_channels - middle, conv.bias is not None
        self.fine = nn.Conv3d(skipped, outputs, self.taps, padding=self.taps // 2, bias=bias).requires_grad_(False)
        self.fine.weight.copy_(conv.weight[:, middle:])
        if conv.bias is not None and self.fine.bias is not None:
            self.fine.bias.copy_(conv.bias)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        y = self.fine(skip)
        if self.with_ones:
            x = torch.cat((x, x.new_ones(len(x), 1, *x.shape[2:])), dim=1)
        # All parities at once, with one position more per axis than each needs.
        parts = F.conv3d(x, self.coarse, padding=self.taps // 2).unflatten(1, (8, -1))
        depth, height, width = x.shape[2:]
        for number, (i, j, k) in enumerate(PARITIES):
            part = parts[:, number]
            if self.taps == 3:
                part = part[:, :, i : i + depth, j : j + height, k : k + width]
            y[:, :, i::2, j::2, k::2] += part
        return y


class MergedUp(nn.Module):
    """The U-Net's `Up` with its transposed convolution merged into the next convolution."""

    def __init__(self, up: Up) -> None:
        super().__init__()
        first, self.second = cast(tuple[ConvNormReLU, ConvNormReLU], tuple(up.ops))
        self.conv = MergedConv(first.conv1, up.up_conv)
        self.norm = first.bn1

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.second(self.norm(self.conv(x, skip)))


class MergedDecoderBlock(nn.Module):
    """Swin UNETR's `DecoderBlock` with its transposed convolution merged into the two convolutions that follow."""

    def __init__(self, block: DecoderBlock) -> None:
        super().__init__()
        layer, transposed = block.conv_block, cast(nn.ConvTranspose3d, block.transp_conv.conv)
        assert layer.conv3 is not None  # a concatenation has more channels than the block's output
        self.norm_act = layer.norm_act
        self.conv1 = MergedConv(cast(nn.Conv3d, layer.conv1.conv), transposed)
        self.conv2 = layer.conv2
        self.conv3 = MergedConv(cast(nn.Conv3d, layer.conv3.conv), transposed)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        y = self.norm_act(self.conv1(x, skip), None, None, None, SLOPE, EPS)
        residual = self.norm_act(self.conv3(x, skip), None, None, None, 1.0, EPS)
        return self.norm_act(self.conv2(y), None, None, residual, SLOPE, EPS)


def merge_upsampling(backbone: nn.Module) -> nn.Module:
    """Replace the decoder modules of a backbone by merged ones, in place."""
    for name, module in list(backbone.named_children()):
        if isinstance(module, Up):
            setattr(backbone, name, MergedUp(module))
        elif isinstance(module, DecoderBlock):
            setattr(backbone, name, MergedDecoderBlock(module))
    return backbone


def _number(digits: list[int] | tuple[int, ...], base: int) -> int:
    x, y, z = digits
    return (x * base + y) * base + z
