"""Weights from the layout of the checkpoint to that of the kernels: merged, transformed, packed."""

from __future__ import annotations

import ctypes
import hashlib
import itertools
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from umlite.cpu.activation import Floats, padded
from umlite.cpu.algorithms import Algorithm
from umlite.cpu.libraries import load
from umlite.cpu.mirror import address
from umlite.models import merging
from umlite.progress import Notify, no_notice

Doubles = NDArray[np.float64]

PACKING_VERSION = 3
"""Part of every key: raise it when packed weights change in layout or meaning, or a transform in its points."""


def packing_key(parts: Iterable[str | Floats]) -> str:
    """The name of kept weights: a hash of the tensors and of how they are packed."""
    digest = hashlib.sha256(f"{PACKING_VERSION}".encode())
    for part in parts:
        if isinstance(part, str):
            digest.update(part.encode())
        else:
            digest.update(f"{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data.cast("B"))
    return digest.hexdigest()[:32]


def floats(tensor: Tensor | None) -> Floats:
    """A parameter in float32, as kernels and keys take it."""
    assert tensor is not None  # these networks have no layer without it
    array: Floats = tensor.detach().to("cpu", torch.float32).contiguous().numpy()
    return array


def doubles(tensor: Tensor | None) -> Doubles:
    """A parameter in float64, for sums."""
    return floats(tensor).astype(np.float64)


def pack(algorithm: Algorithm, weight: Doubles, out: Floats, threads: int, notify: Notify = no_notice) -> None:
    """Transform and pack weights, with sums in float64.

    Args:
        algorithm: which packs them.
        weight: [sets, outputs, inputs, taps^3], any strides.
        out: [sets * packed floats] float32, gets them.
        threads: threads to use.
        notify: as of `libraries.load`.
    """
    library = load("pack", notify)
    for one, target in zip(weight, out.reshape(len(weight), -1), strict=True):
        outputs, inputs, _ = one.shape
        strides = (ctypes.c_int64 * 3)(*(step // one.itemsize for step in one.strides))
        sizes = (ctypes.c_int64(algorithm.kernel), ctypes.c_int64(outputs), ctypes.c_int64(inputs))
        source, destination = ctypes.c_void_p(one.ctypes.data), ctypes.c_void_p(address(target))
        library.pack(*sizes, source, strides, destination, ctypes.c_int64(threads))


def plain_kernels(weight: Floats) -> Doubles:
    """Kernels [outputs, inputs, k, k, k] as `pack` takes them, [1, outputs, inputs, k^3]."""
    outputs, inputs, *_ = weight.shape
    return np.asarray(weight, np.float64).reshape(1, outputs, inputs, -1)


def row_kernels(weight: Floats) -> Doubles:
    """Kernels [outputs, inputs, 3, 3, 3] as nine products of a row's three taps, [9, outputs, 3 * stored inputs, 1]."""
    outputs, inputs, *_ = weight.shape
    rows = np.zeros((9, outputs, 3, padded(inputs)))
    rows[..., :inputs] = weight.reshape(outputs, inputs, 9, 3).transpose(2, 0, 3, 1)
    return rows.reshape(9, outputs, -1, 1)


def merged_kernels(weight: Floats | None, transposed: Floats) -> Doubles:
    """`umlite.models.merging.merged_kernels` for arrays of any strides."""
    return merging.merged_kernels(None if weight is None else _tensor(weight), _tensor(transposed)).numpy()


def border_of_bias(weight: Floats, bias: Floats) -> Floats:
    """What the bias of a transposed convolution adds behind the following 3^3 convolution: [27, padded(outputs)].

    There is a row per kind of position (low border, inside, high border in each axis, last axis fastest). The row of
    the inside is subtracted from all, because the norm that follows cancels it.
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


def _tensor(array: Floats) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
