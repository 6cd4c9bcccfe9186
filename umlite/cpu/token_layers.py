"""Layers over tokens as the C kernels take them, their packed weights, and the steps to run."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from umlite.cpu import buffers
from umlite.cpu.activation import LINE, Floats, Grid, padded
from umlite.cpu.libraries import load
from umlite.cpu.mirror import Mirror
from umlite.cpu.packed_file import kept_weights
from umlite.cpu.packing import Doubles, packing_key
from umlite.progress import Notify, no_notice

Weights = Callable[[], tuple[Doubles | Floats, ...]]
"""Makes a layer's arrays if they are needed: they are not when packed ones were kept."""

LOG2_E = 1.4426950408889634
NO_KEY = -1e30
"""Bias of a missing key: its exponential is 2^-125."""
CORNERS = 6
"""Corners that patch merging gathers. The published network gathers eight, two of these twice."""
HIDDEN_CHUNK = 192
"""Hidden numbers of a perceptron at a time: they stay in the cache and have sums of their own."""
BLOCK_FLOATS = 36 << 10
"""Floats of a block's widest rows: they stay in the second cache between two products."""
MOST_ROWS, ROW_STEP = 96, 6


class RowsLayer(Mirror):
    """A layer over rows of tokens: norm, linear layer, perceptron or merging."""

    declared = ("linear.c", "rows_layer_t")
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("threads", "rows", "inputs", "hidden", "outputs", "channels")),
        *((name, ctypes.c_int64) for name in ("chunk", "height", "width")),
        *((name, ctypes.c_void_p) for name in ("x", "weights", "bias", "weights2", "bias2", "y")),
        *((name, ctypes.c_int64) for name in ("add", "block")),
        ("scratch", ctypes.c_void_p),
    )


class AttentionLayer(Mirror):
    """Shifted-window attention."""

    declared = ("attention.c", "attention_t")
    _fields_ = (
        ("threads", ctypes.c_int64),
        *((name, ctypes.c_int64 * 3) for name in ("grid", "side", "shift")),
        *((name, ctypes.c_int64) for name in ("heads", "dim")),
        *((name, ctypes.c_void_p) for name in ("qkv", "padding", "bias", "y", "scratch")),
    )


class Embedding(Mirror):
    """The patch embedding."""

    declared = ("patch_embedding.c", "embedding_t")
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("threads", "depth", "height", "width", "channels")),
        *((name, ctypes.c_void_p) for name in ("image", "weights", "bias", "y")),
    )


@dataclass(frozen=True)
class _Parameters:
    """Where a layer's arrays go.

    Args:
        layer: the C struct.
        fields: name in it -> floats.
        make: makes the arrays.
        chunks: name -> rows of a weight that are packed together.
    """

    layer: Mirror
    fields: dict[str, int]
    make: Weights
    chunks: dict[str, int]


class TokenLayers:
    """Declares layers over tensors [D, H, W, stored channels] float32, to be run in the order of `steps`.

    Widths are stored ones (`padded`). Numbers beyond the channels are zero, in tokens and in weights. A layer's
    `weights` make its named arrays, float64 or float32: a weight is [inputs, outputs], a bias [outputs]. Call `prepare`
    after the last declaration.

    Args:
        threads: threads of every layer.
        allot: makes memory.
        notify: gets a sentence when something takes long once.

    Raises:
        CompilerError: the kernels cannot be built.
    """

    def __init__(
        self, threads: int, *, allot: Callable[..., Floats] = buffers.zeros, notify: Notify = no_notice
    ) -> None:
        self.threads, self._allot, self._notify = threads, allot, notify
        self.steps: list[tuple[str, Callable[[], None]]] = []
        self._libraries = {stem: load(stem, notify) for stem in ("linear", "attention", "patch_embedding")}
        self._scratch: list[tuple[Mirror, int]] = []  # layers, and the floats that a thread needs for one
        self._parameters: dict[str, _Parameters] = {}

    def patch_embedding(self, name: str, image: Floats, weights: Weights, y: Floats) -> None:
        """Declare y = a 2^3 convolution of an image [2 D, 2 H, 2 W] with stride 2. weights: [8, channels], bias."""
        layer = Embedding(self.threads, *y.shape)
        layer.point(image=image, y=y)
        self._step(name, "patch_embedding", "patch_embedding", layer)
        self._later(name, layer, weights, {"weights": 8 * y.shape[3], "bias": y.shape[3]})

    def layer_norm(self, name: str, x: Floats, channels: int, y: Floats) -> None:
        """Declare y = x normalised over its channels, zeros beyond them."""
        self._rows(name, "layer_norm", x, y, channels=channels)

    def linear(
        self, name: str, x: Floats, weights: Weights, y: Floats, *, normalised: int = 0, add: bool = False
    ) -> None:
        """Declare y = x @ weight + bias, or y += with `add`. normalised: channels to normalise x over first, or 0."""
        layer = self._rows(name, "linear", x, y, channels=normalised)
        layer.add = int(add)
        inputs, outputs = x.shape[3], y.shape[3]
        self._later(name, layer, weights, {"weights": inputs * outputs, "bias": outputs}, {"weights": inputs})

    def perceptron(self, name: str, x: Floats, channels: int, hidden: int, weights: Weights) -> None:
        """Declare x += gelu(norm(x) @ weight + bias) @ weight2 + bias2. hidden: stored width; weights: these four."""
        layer = self._rows(name, "perceptron", x, x, channels=channels, hidden=hidden)
        stored = x.shape[3]
        sizes = {"weights": stored * hidden, "bias": hidden, "weights2": hidden * stored, "bias2": stored}
        self._later(name, layer, weights, sizes, {"weights": stored, "weights2": layer.chunk})

    def merge(self, name: str, x: Floats, channels: int, weights: Weights, y: Floats) -> None:
        """Declare y = norm(corners of each 2^3 block of x) @ weight + bias. weights: [6 * stored, outputs], bias."""
        layer = self._rows(name, "merge", x, y, channels=channels, corners=CORNERS)
        inputs, outputs = x.shape[3], y.shape[3]
        self._later(name, layer, weights, {"weights": CORNERS * inputs * outputs, "bias": outputs}, {"weights": inputs})

    def attention(
        self, name: str, qkv: Floats, heads: int, weights: Weights, y: Floats, window: int, shift: int
    ) -> None:
        """Declare shifted-window attention of every head. A grid axis not longer than the window is not shifted.

        Args:
            name: unique in the network.
            qkv: [D, H, W, 3 * heads * dim], queries times log2(e) / sqrt(channels of a head).
            heads: how many.
            weights: queries, keys and values of a token beyond the grid, [3 * heads * dim], and `expanded_bias`.
            y: [D, H, W, heads * dim].
            window, shift: tokens per axis.
        """
        grid = qkv.shape[:3]
        sides = window_sides(grid, window)
        shifts = [shift if size > window else 0 for size in grid]
        layer = AttentionLayer(self.threads, heads=heads, dim=y.shape[3] // heads)
        layer.grid[:], layer.side[:], layer.shift[:] = grid, sides, shifts
        layer.point(qkv=qkv, y=y)
        self._step(name, "attention", "attention", layer, "attention_scratch")
        tokens = int(np.prod(sides))
        sizes = {"padding": 3 * y.shape[3], "bias": heads * tokens * padded(tokens)}
        self._later(name, layer, weights, sizes)

    @property
    def weight_bytes(self) -> int:
        """Bytes of packed weights and expanded tables, known before `prepare`."""
        return 4 * sum(self._sizes().values())

    def prepare(self, tensors: Iterable[Floats], *, keep: bool) -> None:
        """Find or make the packed weights, and take the scratch memory that all layers share.

        Args:
            tensors: everything that the weights are made from.
            keep: keep packed weights in the cache, and map them from there.
        """
        scratch = self._allot(self.threads * max((floats for _, floats in self._scratch), default=0))
        for layer, _ in self._scratch:
            layer.point(scratch=scratch)
        sizes = self._sizes()
        key = packing_key([f"tokens {HIDDEN_CHUNK} {sizes}", *tensors])
        arrays = kept_weights(key, sizes, self._fill, keep=keep, threads=self.threads, notify=self._notify)
        for name, parameters in self._parameters.items():
            left = arrays[name]
            for field, floats in parameters.fields.items():
                parameters.layer.point(**{field: left[:floats]})
                left = left[floats:]
        self._parameters.clear()  # and with them what they were made from

    def _rows(
        self, name: str, kind: str, x: Floats, y: Floats, *, channels: int, hidden: int = 0, corners: int = 1
    ) -> RowsLayer:
        layer = RowsLayer(self.threads, int(np.prod(y.shape[:3])), x.shape[3], hidden, y.shape[3], channels)
        layer.chunk = min(hidden, HIDDEN_CHUNK)
        if corners > 1:
            layer.height, layer.width = y.shape[1:3]
        layer.block = block_rows(layer.rows, max(corners * x.shape[3], y.shape[3]), self.threads)
        layer.point(x=x, y=y)
        self._step(name, "linear", kind, layer, "rows_scratch")
        return layer

    def _step(self, name: str, library: str, function: str, layer: Mirror, scratch: str = "") -> None:
        if scratch:
            count = getattr(self._libraries[library], scratch)
            count.restype = ctypes.c_int64
            self._scratch.append((layer, int(count(ctypes.byref(layer)))))
        call = getattr(self._libraries[library], function)
        self.steps.append((name, functools.partial(call, ctypes.byref(layer))))

    def _later(
        self,
        name: str,
        layer: Mirror,
        make: Weights,
        fields: dict[str, int],
        chunks: dict[str, int] | None = None,
    ) -> None:
        if name in self._parameters:
            raise ValueError(f"Two layers are called {name!r}.")
        self._parameters[name] = _Parameters(layer, fields, make, chunks or {})

    def _sizes(self) -> dict[str, int]:
        return {name: sum(parameters.fields.values()) for name, parameters in self._parameters.items()}

    def _fill(self, name: str, out: Floats) -> None:
        parameters = self._parameters[name]
        for (field, floats), array in zip(parameters.fields.items(), parameters.make(), strict=True):
            part, out = out[:floats], out[floats:]
            if array.size != floats:
                raise ValueError(f"{name}: expected {floats} numbers for its {field}, found {array.shape}.")
            if field in parameters.chunks:
                pack_panels(array, parameters.chunks[field], part)
            else:
                part[...] = array.reshape(-1)


def pack_panels(weight: Doubles | Floats, chunk: int, out: Floats) -> None:
    """Pack a weight as products read it, in a flat array: for each chunk of inputs, [outputs / LINE][inputs][LINE]."""
    inputs, outputs = weight.shape
    rows = out.reshape(inputs, outputs)
    for start in range(0, inputs, chunk):
        part = weight[start : start + chunk]
        panels = rows[start : start + chunk].reshape(outputs // LINE, len(part), LINE)
        panels[...] = part.reshape(len(part), outputs // LINE, LINE).transpose(1, 0, 2)


def window_sides(grid: tuple[int, ...], window: int) -> Grid:
    """Tokens of an attention window per axis, no more than the grid has."""
    depth, height, width = (min(size, window) for size in grid)
    return depth, height, width


def expanded_bias(table: Doubles, index: NDArray[np.int64]) -> Floats:
    """The bias of every query and key, [heads, tokens, padded(tokens)], as exponents of two.

    Args:
        table: [(2 * window - 1)^3, heads].
        index: [tokens, tokens], rows of the table.
    """
    tokens, heads = len(index), table.shape[1]
    bias = np.full((heads, tokens, padded(tokens)), NO_KEY, np.float32)
    for head, column in enumerate((table * LOG2_E).astype(np.float32).T):
        bias[head, :, :tokens] = column[index]
    return bias


def block_rows(rows: int, width: int, threads: int) -> int:
    """Rows at a time, few enough for the second cache and for work on every thread."""
    fair = -(-rows // (2 * threads))
    wanted = min(MOST_ROWS, BLOCK_FLOATS // width, fair)
    return max(ROW_STEP, wanted // ROW_STEP * ROW_STEP)
