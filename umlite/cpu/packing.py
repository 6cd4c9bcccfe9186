"""Weights from the layout of the checkpoint to that of the kernels: merged, transformed, packed."""

from __future__ import annotations

import ctypes
import itertools

import numpy as np
import torch
from numpy.typing import NDArray

from umlite.cpu.activation import Floats, padded
from umlite.cpu.compiler import Notify, load
from umlite.cpu.plan import Algorithm

Doubles = NDArray[np.float64]

PARITIES = tuple(itertools.product((0, 1), repeat=3))
TAPS = tuple(itertools.product((0, 1, 2), repeat=3))


def pack(algorithm: Algorithm, weight: Doubles, out: Floats, threads: int, notify: Notify | None = None) -> None:
    """Transform and pack weights [sets, outputs, inputs, taps^3] into `out`, [sets * packed floats] float32.

    Sums are in float64. Any strides of `weight` will do.
    """
    library = load("pack", notify)
    for one, target in zip(weight, out.reshape(len(weight), -1), strict=True):
        outputs, inputs, _ = one.shape
        strides = (ctypes.c_long * 3)(*(step // one.itemsize for step in one.strides))
        sizes = (ctypes.c_long(algorithm.kernel), ctypes.c_long(outputs), ctypes.c_long(inputs))
        source, destination = ctypes.c_void_p(one.ctypes.data), ctypes.c_void_p(target.ctypes.data)
        library.pack(*sizes, source, strides, destination, ctypes.c_long(threads))


def plain_kernels(weight: Floats) -> Doubles:
    """[outputs, inputs, k, k, k] -> [1, outputs, inputs, k^3] for `pack`."""
    outputs, inputs, *_ = weight.shape
    return np.asarray(weight, np.float64).reshape(1, outputs, inputs, -1)


def merged_kernels(weight: Floats | None, transposed: Floats) -> Doubles:
    """The eight kernels of a transposed convolution 2^3, stride 2, followed by a convolution: one per output parity.

    transposed: [inputs, middle, 2, 2, 2]; weight: [outputs, middle, k, k, k] with k = 1 or 3, None for none.
    Returns [8, outputs, inputs, taps], taps = 8 for k = 3 (offsets parity - 1 and parity on the coarse grid), 1 else.
    Zero padding agrees on both grids, so the merged layer is exact up to rounding, borders included.
    """
    inputs, middle = transposed.shape[:2]
    spread = torch.from_numpy(np.ascontiguousarray(transposed)).double().reshape(inputs, middle, 8)
    if weight is None:
        return spread.permute(2, 1, 0).unsqueeze(-1).numpy()
    outputs, _, taps, *_ = weight.shape
    kernel = torch.from_numpy(np.ascontiguousarray(weight)).double().reshape(outputs, middle, taps**3)
    rows = kernel.permute(2, 0, 1).reshape(taps**3 * outputs, middle)
    if taps == 1:
        return torch.stack([rows @ spread[:, :, sub].T for sub in range(8)]).unsqueeze(-1).numpy()
    merged = torch.zeros(8, 8, outputs, inputs, dtype=torch.float64)
    for sub in range(8):  # place of a fine voxel within its coarse voxel
        products = (rows @ spread[:, :, sub].T).reshape(27, outputs, inputs)
        for parity, tap in itertools.product(
            itertools.product((0, 1), repeat=3), itertools.product((0, 1, 2), repeat=3)
        ):
            fine = [p + t - 1 for p, t in zip(parity, tap, strict=True)]
            if _number([f % 2 for f in fine], 2) == sub:
                coarse = _number([f // 2 + 1 - p for f, p in zip(fine, parity, strict=True)], 2)
                merged[_number(parity, 2), coarse] += products[_number(tap, 3)]
    return merged.permute(0, 2, 3, 1).numpy()


def border_of_bias(weight: Floats, bias: Floats) -> Floats:
    """What the bias of a transposed convolution adds after the 3^3 convolution behind it: [27, padded(outputs)].

    A row per kind of position (low border, inside, high border in each axis, last axis fastest), less the row of the
    inside, which the norm that follows cancels.
    """
    outputs, middle, *_ = weight.shape
    taps = np.asarray(weight, np.float64).reshape(outputs, middle, 27)
    seen = (np.asarray(bias, np.float64) @ taps).reshape(outputs, 3, 3, 3)
    inside = (slice(1, 3), slice(0, 3), slice(0, 2))
    kinds = itertools.product(inside, repeat=3)
    table = np.stack([seen[:, x, y, z].sum((1, 2, 3)) for x, y, z in kinds])
    border = np.zeros((27, padded(len(weight))), np.float32)
    border[:, : len(weight)] = table - table[13]
    return border


def _number(digits: list[int] | tuple[int, ...], base: int) -> int:
    x, y, z = digits
    return (x * base + y) * base + z
