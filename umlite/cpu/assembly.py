"""A network as a list of steps over fixed buffers: layers are declared once and run for every window."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from umlite.cpu import buffers
from umlite.cpu.activation import RELU, Activation, Floats, Grid, padded
from umlite.cpu.algorithms import ERROR_GATE, IMAGE, STRIDED, TRILINEAR, WEIGHT_LIMIT_BYTES, Choice, Shape, choose
from umlite.cpu.buffers import Arena
from umlite.cpu.convolution import Convolution, Norm, scratch_floats
from umlite.cpu.libraries import load
from umlite.cpu.packed_file import kept_weights
from umlite.cpu.packing import Doubles, border_of_bias, merged_kernels, pack, packing_key, plain_kernels, row_kernels
from umlite.machine.processor import Machine
from umlite.progress import Notify, no_notice


@dataclass(frozen=True)
class _Weights:
    """What a layer's packed weights are made from: tensors of the checkpoint, and a function that merges them."""

    tensors: tuple[Floats, ...]
    kernels: Callable[[], Doubles]


class Assembly:
    """Declares layers, then runs them in the order in which they were declared.

        net = Assembly(Machine.here(threads=2))
        x = net.tensor((96, 96, 96), 32)
        net.image_convolution("first", weight, image, x, norm=Norm(gamma, beta))
        ...
        net.prepare()          # packs weights or finds them packed, allots scratch memory
        net.run()              # once per window: reads what the image array holds, leaves results in the activations

    Args:
        machine: threads and cache sizes.
        error_gate, weight_limit_bytes: see `algorithms.choose`.
        keep: keep packed weights in the cache, and map them from there.
        notify: gets a sentence when something takes long once.
        count_only: take no memory; after `prepare`, `bytes` is what the network would take. It cannot run.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        error_gate: float = ERROR_GATE,
        weight_limit_bytes: int = WEIGHT_LIMIT_BYTES,
        keep: bool = True,
        notify: Notify = no_notice,
        count_only: bool = False,
    ) -> None:
        self.count_only = count_only
        self.bytes = 0
        """Bytes of tensors, scratch memory and packed weights, known after `prepare`."""
        self.machine, self.error_gate, self.weight_limit_bytes = machine, error_gate, weight_limit_bytes
        self.keep, self.notify = keep, notify
        self.seconds: dict[str, float] = {}
        """Wall time of each step in the last run."""
        self._steps: list[tuple[str, Callable[[], None]]] = []
        self._layers: list[Convolution] = []
        self._weights: dict[str, _Weights] = {}
        self._unpacked: dict[str, Floats] = {}

    def allot(self, *shape: int) -> Floats:
        """Take zeroed memory, and count it. Raises DeviceError when the system refuses it."""
        array = buffers.untouched(*shape) if self.count_only else buffers.zeros(*shape, threads=self.machine.threads)
        self.bytes += array.nbytes
        return array

    def arena(self, *shape: int) -> Arena:
        """Take memory that several tensors use in turn, and count it."""
        return Arena(self.allot(*shape), self.allot)

    def tensor(
        self, grid: Grid, channels: int, *, slope: float = RELU, storage: Activation | Arena | None = None
    ) -> Activation:
        """Make room for a layer's output: on huge pages, with scale and shift of its own (1 and 0 at first).

        Args:
            grid, channels: its shape.
            slope: of the activation function that its readers apply.
            storage: an arena to take memory from, or another activation whose memory is used again; that one must
                have been read for the last time when this one is written.
        """
        shape = (*grid, padded(channels))
        if storage is None:
            data = self.allot(*shape)
        elif isinstance(storage, Arena):
            data = storage.take(*shape)
        else:
            data = storage.data.reshape(-1)[: int(np.prod(shape))].reshape(shape)
        activation = Activation.plain(data, channels)
        activation.slope = slope
        return activation

    def convolution(
        self,
        name: str,
        weight: Floats,
        source: Activation,
        target: Activation,
        *,
        norm: Norm | None = None,
        accumulate: bool = False,
        pool: Activation | None = None,
    ) -> None:
        """Declare a convolution with zero padding, stride 1 and no bias, which the norm behind it would cancel.

        Args:
            name: unique in the network.
            weight: [outputs, inputs, k, k, k] float32, k = 1 or 3; any channels, any grid.
            source: is read with everything pending (scale, shift, residual, slope).
            target: on the same grid. Its data are written raw (no activation).
            norm: gather statistics of the finished target and write its scale and shift; None leaves them alone.
            accumulate: add to the target. This is the second half of a concatenation, conv(concat(a, b)) =
                conv_a(a) + conv_b(b), of which the last one gets `norm`.
            pool: [D/2, H/2, W/2, outputs], gets the raw 2^3 maximum (minimum where gamma < 0) of the target, and
                shares its scale, shift and slope from now on. Needs `norm` and k = 3.
        """
        if source.grid != target.grid:
            raise ValueError(f"{name}: expected one grid, found {source.grid} and {target.grid}.")
        if pool is not None:
            if norm is None:
                raise ValueError(f"{name}: pooling needs a norm, whose sign chooses maximum or minimum.")
            pool.scale, pool.shift, pool.slope = target.scale, target.shift, target.slope
        shape = Shape(name, source.grid, source.channels, target.channels, weight.shape[2], pool=pool is not None)
        layer = Convolution(self._choose(shape), source, target, norm, accumulate, pool)
        self._add(layer, _Weights((weight,), lambda: plain_kernels(weight)))

    def up_convolution(
        self,
        name: str,
        weight: Floats | None,
        transposed: Floats,
        source: Activation,
        target: Activation,
        *,
        bias: Floats | None = None,
        norm: Norm | None = None,
        accumulate: bool = False,
    ) -> None:
        """Declare a transposed convolution 2^3 of stride 2 and the convolution behind it, as eight merged kernels.

        Args:
            name, norm, accumulate: as of `convolution`.
            weight: [outputs, middle, k, k, k], k = 1 or 3, or None for the transposed convolution alone.
            transposed: [inputs, middle, 2, 2, 2] float32.
            source, target: the target's grid is twice the source's.
            bias: [middle], of the transposed convolution. The norm behind cancels its constant inside the grid; its
                effect at the border stays.
        """
        depth, height, width = source.grid
        if target.grid != (2 * depth, 2 * height, 2 * width):
            raise ValueError(f"{name}: expected a target twice as fine as {source.grid}, found {target.grid}.")
        merged_taps = 2 if weight is not None and weight.shape[2] == 3 else 1
        shape = Shape(name, source.grid, source.channels, target.channels, merged_taps, up=True)
        border = None
        if merged_taps == 2 and weight is not None and bias is not None:
            border = border_of_bias(weight, bias)
        layer = Convolution(self._choose(shape), source, target, norm, accumulate, border=border)
        tensors = (transposed,) if weight is None else (weight, transposed)
        self._add(layer, _Weights(tensors, lambda: merged_kernels(weight, transposed)))

    def image_convolution(
        self, name: str, weight: Floats, image: Floats, target: Activation, *, norm: Norm | None = None
    ) -> None:
        """Declare a 3^3 convolution of one channel.

        Args:
            name, norm: as of `convolution`.
            weight: [outputs, 1, 3, 3, 3] float32.
            image: [D, H, W] float32, read at each run.
            target: on the same grid.
        """
        if image.shape != target.grid:
            raise ValueError(f"{name}: expected one grid, found {image.shape} and {target.grid}.")
        taps = np.zeros((27, padded(target.channels)), np.float32)
        taps[:, : target.channels] = weight.reshape(len(weight), 27).T
        self._unpacked[name] = taps
        choice = Choice(Shape(name, target.grid, 1, target.channels, 3), IMAGE, 1, False)
        self._add(Convolution(choice, Activation.plain(image[..., None]), target, norm))

    def strided_convolution(
        self, name: str, weight: Floats, source: Activation, target: Activation, *, norm: Norm | None = None
    ) -> None:
        """Declare a 3^3 convolution with zero padding and stride 2.

        Args:
            name, norm: as of `convolution`.
            weight: [outputs, inputs, 3, 3, 3] float32.
            source: its data are read as they are stored, without anything that is pending.
            target: on a grid half as fine, which the source's is a multiple of.
        """
        if source.grid != tuple(2 * side for side in target.grid):
            raise ValueError(f"{name}: expected a target half as fine as {source.grid}, found {target.grid}.")
        choice = Choice(Shape(name, source.grid, source.channels, target.channels, 3), STRIDED, 1, False)
        self._add(Convolution(choice, source, target, norm), _Weights((weight,), lambda: row_kernels(weight)))

    def upsampling(self, name: str, source: Activation, target: Activation, *, norm: Norm | None = None) -> None:
        """Declare that a tensor is added to one twice as fine, by trilinear interpolation between voxel centres.

        Args:
            name, norm: as of `convolution`.
            source: its data are read as they are stored, without anything that is pending.
            target: of the same channels.
        """
        if target.grid != tuple(2 * side for side in source.grid) or target.channels != source.channels:
            raise ValueError(f"{name}: expected a target twice as fine as {source.grid}, found {target.grid}.")
        shape = Shape(name, source.grid, source.channels, target.channels, 1, up=True)
        self._unpacked[name] = np.zeros(0, np.float32)
        self._add(Convolution(Choice(shape, TRILINEAR, 1, False), source, target, norm, accumulate=True))

    def step(self, name: str, call: Callable[[], None]) -> None:
        """Declare anything else that belongs between two layers (transformer blocks, heads)."""
        self._steps.append((name, call))

    def prepare(self) -> None:
        """After the last declaration: find or make the packed weights, and take scratch memory."""
        self.bytes += sum(layer.choice.weight_bytes for layer in self._layers)
        scratch = self.allot(scratch_floats(self._layers, self.machine.threads))
        if self.count_only:
            return
        weights = {**self._unpacked, **self._packed()}
        for layer in self._layers:
            layer.bind(weights[layer.name], scratch)
        self._weights.clear()

    def run(self) -> None:
        """Run all steps in order."""
        for name, call in self._steps:
            start = time.perf_counter()
            call()
            self.seconds[name] = time.perf_counter() - start

    @property
    def layers(self) -> list[Convolution]:
        """The convolutions, in order."""
        return list(self._layers)

    @property
    def choices(self) -> list[Choice]:
        """How each convolution runs (see `algorithms.layer_rows`)."""
        return [layer.choice for layer in self._layers]

    def _choose(self, shape: Shape) -> Choice:
        return choose(shape, self.machine, error_gate=self.error_gate, weight_limit_bytes=self.weight_limit_bytes)

    def _add(self, layer: Convolution, weights: _Weights | None = None) -> None:
        if any(layer.name == other.name for other in self._layers):
            raise ValueError(f"Two layers are called {layer.name!r}.")
        load(layer.choice.algorithm.library, self.notify)
        self._layers.append(layer)
        self._steps.append((layer.name, layer.run))
        if weights is not None:
            self._weights[layer.name] = weights

    def _packed(self) -> dict[str, Floats]:
        packed = {layer.name: layer for layer in self._layers if layer.name in self._weights}
        sizes = {name: layer.choice.weight_bytes // 4 for name, layer in packed.items()}

        def fill(name: str, out: Floats) -> None:
            kernels = self._weights[name].kernels()
            pack(packed[name].choice.algorithm, kernels, out, self.machine.threads, self.notify)

        return kept_weights(self._key(), sizes, fill, keep=self.keep, threads=self.machine.threads, notify=self.notify)

    def _key(self) -> str:
        parts: list[str | Floats] = []
        for layer in self._layers:
            if layer.name in self._weights:
                parts += [f"{layer.name} {layer.choice.algorithm.kernel} {layer.choice.shape.up}"]
                parts += self._weights[layer.name].tensors
        return packing_key(parts)
