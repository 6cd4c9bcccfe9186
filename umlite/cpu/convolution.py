"""One convolution layer as the C kernels take it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

import numpy as np

from umlite.cpu.activation import Activation, Floats, padded
from umlite.cpu.algorithms import Choice
from umlite.cpu.libraries import load
from umlite.cpu.mirror import Mirror
from umlite.cpu.pending import Pending, pending

STREAMED_BYTES = 24 << 20
"""Larger tensors are written past the caches, unless they were just read (accumulate), where that is slow."""


class Layer(Mirror):
    """What a convolution kernel reads and writes."""

    declared = ("layer.h", "layer_t")
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("kernel", "threads", "D", "H", "W")),
        ("x", Pending),
        ("weights", ctypes.c_void_p),
        ("y", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("outputs", "up", "accumulate", "streamed")),
        *((name, ctypes.c_void_p) for name in ("border", "pool", "gamma", "beta")),
        ("eps", ctypes.c_double),
        ("group", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("y_scale", "y_shift")),
        *((name, ctypes.c_int64) for name in ("block", "shared")),
        ("scratch", ctypes.c_void_p),
        ("seconds", ctypes.c_double * 4),
    )


@dataclass(frozen=True)
class Norm:
    """Instance norm with affine weight gamma and bias beta, [channels] float32; biased variance over the window.

    With more than one channel in a `group`, which share mean and variance, it is a group norm.
    """

    gamma: Floats
    beta: Floats
    eps: float = 1e-5
    group: int = 1

    @classmethod
    def plain(cls, channels: int) -> Norm:
        """A norm without affine parameters."""
        return cls(np.ones(channels, np.float32), np.zeros(channels, np.float32))


@dataclass
class Convolution:
    """A declared layer: what it reads and writes. `bind` gives it weights and scratch memory, `run` runs it."""

    choice: Choice
    source: Activation
    target: Activation
    norm: Norm | None = None
    accumulate: bool = False
    pool: Activation | None = None
    border: Floats | None = None
    layer: Layer = field(default_factory=Layer, repr=False)

    def __post_init__(self) -> None:
        source, target, layer = self.source, self.target, self.layer
        layer.kernel, layer.up = self.choice.algorithm.kernel, int(self.choice.shape.up)
        layer.D, layer.H, layer.W = source.grid
        layer.outputs, layer.accumulate = target.data.shape[3], int(self.accumulate)
        layer.point(
            x=pending(source), y=target.data, border=self.border, pool=None if self.pool is None else self.pool.data
        )
        layer.streamed = int(target.data.nbytes > STREAMED_BYTES and not self.accumulate)
        layer.block, layer.shared = self.choice.block, int(self.choice.shared)
        if self.norm is not None:
            gamma, beta = np.zeros((2, padded(target.channels)), np.float32)
            gamma[: target.channels], beta[: target.channels] = self.norm.gamma, self.norm.beta
            layer.eps, layer.group = self.norm.eps, self.norm.group
            layer.point(gamma=gamma, beta=beta, y_scale=target.scale, y_shift=target.shift)

    @property
    def name(self) -> str:
        return self.choice.shape.name

    def scratch_floats(self, threads: int) -> int:
        self.layer.threads = threads
        library = self.choice.algorithm.library
        count = getattr(load(library), f"{library}_scratch")
        count.restype = ctypes.c_int64
        return int(count(ctypes.byref(self.layer)))

    def bind(self, weights: Floats, scratch: Floats) -> None:
        """Give the layer its memory.

        Args:
            weights: packed, flat.
            scratch: at least `scratch_floats`; layers that run in turn may share it.
        """
        self.layer.point(weights=weights, scratch=scratch)
        library = self.choice.algorithm.library
        self._call = getattr(load(library), library)

    def run(self) -> None:
        self._call(ctypes.byref(self.layer))

    @property
    def seconds(self) -> tuple[float, float, float, float]:
        """Seconds of the last run: loading, products, storing (all threads together), wall. Winograd layers only."""
        loading, products, storing, wall = self.layer.seconds
        return loading, products, storing, wall


def scratch_floats(layers: list[Convolution], threads: int) -> int:
    """Floats of scratch memory for layers that run one after the other."""
    return max((layer.scratch_floats(threads) for layer in layers), default=0) + 16
