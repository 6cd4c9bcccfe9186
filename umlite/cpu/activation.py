"""A tensor between two layers as kernels pass it on: raw numbers, and what its readers still have to apply."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Grid = tuple[int, int, int]

LINE = 16
"""Channels are stored in groups of 16 floats, one cache line: a layer of 24 channels has rows of 32 numbers."""

IDENTITY, RELU = 1.0, 0.0
"""Slopes of no activation and of ReLU."""


def padded(channels: int) -> int:
    """The number of channels as stored, rounded up to a whole line."""
    return -(-channels // LINE) * LINE


@dataclass
class Activation:
    """Raw output of a layer. A reader takes, per voxel v and channel c,

        value = act(scale[c] * data[v, c] + shift[c] + residual.scale[c] * residual.data[v, c] + residual.shift[c])
        act(t) = t where t > 0, slope * t elsewhere        (slope 0: ReLU, 1: no activation; 0 <= slope <= 1)

    data: [D, H, W, padded(channels)] float32, C-contiguous; the channels beyond `channels` hold zeros.
    scale, shift: [padded(channels)] float32, zeros beyond `channels`. A normalisation's layer rewrites them with every
    window, in place: the arrays stay the same objects for as long as the network lives.
    residual: optional second term. Its own slope must be 1 and it has no residual of its own. Its data may have a
    single channel, [D, H, W, 1], which all channels share (a 1^3 convolution of an image needs no tensor).
    """

    data: Floats
    channels: int
    scale: Floats
    shift: Floats
    slope: float = IDENTITY
    residual: Activation | None = None

    @classmethod
    def plain(cls, data: Floats, channels: int | None = None) -> Activation:
        """An activation with nothing pending: scale 1, shift 0, no activation function."""
        stored = data.shape[-1]
        channels = stored if channels is None else channels
        scale = np.zeros(stored, np.float32)
        scale[:channels] = 1
        return cls(data, channels, scale, np.zeros(stored, np.float32))

    @property
    def grid(self) -> Grid:
        """The grid (D, H, W) in voxels."""
        depth, height, width, _ = self.data.shape
        return depth, height, width

    def values(self) -> Floats:
        """The values [D, H, W, channels] with everything pending applied: a copy, for tests and small tensors."""
        total = self.data * self.scale + self.shift
        if self.residual is not None:
            total += self.residual.data * self.residual.scale + self.residual.shift
        return np.maximum(total, np.float32(self.slope) * total)[..., : self.channels]
