"""One convolution layer as the C kernels take it: the description that both sides share, and its run."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

import numpy as np

from umlite.cpu.activation import Activation, Floats, padded
from umlite.cpu.compiler import load
from umlite.cpu.plan import Choice

STREAMED_BYTES = 24 << 20
"""Larger tensors bypass the caches when written; never where they were just read (accumulate): that is slow."""


class Layer(ctypes.Structure):
    """`layer` of source/layer.h, field by field."""

    _fields_ = (
        *((name, ctypes.c_long) for name in ("kernel", "threads", "D", "H", "W", "inputs", "outputs")),
        *((name, ctypes.c_void_p) for name in ("x", "scale", "shift", "more", "more_scale", "more_shift")),
        ("more_shared", ctypes.c_long),
        ("slope", ctypes.c_double),
        ("weights", ctypes.c_void_p),
        ("y", ctypes.c_void_p),
        *((name, ctypes.c_long) for name in ("up", "accumulate", "streamed")),
        *((name, ctypes.c_void_p) for name in ("border", "pool", "gamma", "beta")),
        ("eps", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("y_scale", "y_shift")),
        *((name, ctypes.c_long) for name in ("block", "shared")),
        ("scratch", ctypes.c_void_p),
        ("seconds", ctypes.c_double * 4),
    )


@dataclass(frozen=True)
class Norm:
    """Instance norm with affine weight and bias: gamma, beta [channels] float32 (biased variance over the window)."""

    gamma: Floats
    beta: Floats
    eps: float = 1e-5

    @classmethod
    def plain(cls, channels: int) -> Norm:
        """Without affine parameters."""
        return cls(np.ones(channels, np.float32), np.zeros(channels, np.float32))


@dataclass
class Convolution:
    """A declared layer: what it reads and writes. `bind` gives it weights and scratch memory, `run` runs it.

    Every array is held here for as long as the layer lives, because the C side has only their addresses.
    """

    choice: Choice
    source: Activation
    target: Activation
    norm: Norm | None = None
    accumulate: bool = False
    pool: Activation | None = None
    border: Floats | None = None
    layer: Layer = field(default_factory=Layer, repr=False)
    kept: list[Floats] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        source, target, layer = self.source, self.target, self.layer
        layer.kernel, layer.up = self.choice.algorithm.kernel, int(self.choice.shape.up)
        layer.D, layer.H, layer.W = source.grid
        layer.inputs, layer.outputs = source.data.shape[3], target.data.shape[3]
        layer.x, layer.scale, layer.shift = map(self._address, (source.data, source.scale, source.shift))
        layer.slope = source.slope
        if (more := source.residual) is not None:
            layer.more, layer.more_scale, layer.more_shift = map(self._address, (more.data, more.scale, more.shift))
            layer.more_shared = int(more.data.shape[3] == 1)
        layer.y, layer.accumulate = self._address(target.data), int(self.accumulate)
        layer.streamed = int(target.data.nbytes > STREAMED_BYTES and not self.accumulate)
        layer.block, layer.shared = self.choice.block, int(self.choice.shared)
        if self.border is not None:
            layer.border = self._address(self.border)
        if self.pool is not None:
            layer.pool = self._address(self.pool.data)
        if self.norm is not None:
            for name, values in (("gamma", self.norm.gamma), ("beta", self.norm.beta)):
                full = np.zeros(padded(target.channels), np.float32)
                full[: target.channels] = values
                setattr(layer, name, self._address(full))
            layer.eps = self.norm.eps
            layer.y_scale, layer.y_shift = self._address(target.scale), self._address(target.shift)

    @property
    def name(self) -> str:
        return self.choice.shape.name

    def scratch_floats(self, threads: int) -> int:
        self.layer.threads = threads
        library = self.choice.algorithm.library
        count = getattr(load(library), f"{library}_scratch")
        count.restype = ctypes.c_long
        return int(count(ctypes.byref(self.layer)))

    def bind(self, weights: Floats, scratch: Floats) -> None:
        """weights: packed, flat; scratch: at least `scratch_floats`, may be shared by layers that run in turn."""
        self.layer.weights, self.layer.scratch = self._address(weights), self._address(scratch)
        library = self.choice.algorithm.library
        self._call = getattr(load(library), library)

    def run(self) -> None:
        self._call(ctypes.byref(self.layer))

    @property
    def seconds(self) -> tuple[float, float, float, float]:
        """Of the last run: loading, products and storing (all threads together), wall. Winograd layers only."""
        loading, products, storing, wall = self.layer.seconds
        return loading, products, storing, wall

    def _address(self, array: Floats) -> int:
        if array.dtype != np.float32 or not array.flags.c_contiguous:
            raise ValueError(f"Expected a contiguous float32 array, found {array.dtype} with strides {array.strides}.")
        self.kept.append(array)
        return array.ctypes.data


def scratch_floats(layers: list[Convolution], threads: int) -> int:
    """Scratch memory that layers need which run one after the other."""
    return max((layer.scratch_floats(threads) for layer in layers), default=0) + 16
