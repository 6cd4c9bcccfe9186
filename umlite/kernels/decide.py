"""From sums of logits to one integer per voxel, a bit per class."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from umlite.classes import word_bytes
from umlite.errors import WeightsError
from umlite.kernels.triton import require


def decide_bits_ref(sums: Tensor) -> tuple[Tensor, Tensor]:
    """Plain torch, one class after the other.

    sums: [C, X, Y, Z] float32 of up to 64 classes, any strides: logits weighted by importance.
    Returns bits [X, Y, Z], int32 for up to 32 classes and int64 for more, contiguous: bit k is set where sums[k] > 0.
    That is the published threshold of 0.5 after division and sigmoid, which change no sign. And a number of no
    dimension and the same dtype: bit k is set when a sum of class k is NaN or infinite.
    """
    kind = _kind(len(sums))
    bits = torch.zeros(sums.shape[1:], dtype=kind, device=sums.device)
    broken = torch.zeros((), dtype=kind, device=sums.device)
    for k, values in enumerate(sums):
        bits |= (values > 0).to(kind) << k
        broken |= (~values.isfinite()).any().to(kind) << k
    return bits, broken


def decide_bits_on_host(sums: Tensor) -> tuple[Tensor, Tensor]:
    """The same on a CPU, a plane at a time. No operation: torch imports its compiler at the first one.

    numpy adds the planes on one thread: torch's threads would wait for the next plane as busily as they work.
    """
    kind = _kind(len(sums))
    bits = torch.zeros(sums.shape[1:], dtype=kind, device=sums.device)
    broken = torch.zeros((), dtype=kind, device=sums.device)
    for plane, target in zip(sums.unbind(1), bits.unbind(0), strict=True):  # a plane's temporaries stay in cache
        with np.errstate(all="ignore"):
            finite = bool(np.isfinite(plane.numpy().sum()))  # else look closer: large sums may overflow together
        for k, values in enumerate(plane):
            target |= (values > 0).to(kind) << k
            if not finite:
                broken |= (~values.isfinite()).any().to(kind) << k
    return bits, broken


@torch.library.custom_op("umlite::decide_bits", mutates_args=())
def decide_bits(sums: Tensor) -> tuple[Tensor, Tensor]:
    """The same; on a GPU one pass over the sums. One node for torch.compile. DeviceError on a GPU without Triton."""
    return decide_bits_on_host(sums)


@decide_bits.register_kernel("cuda")
def _(sums: Tensor) -> tuple[Tensor, Tensor]:
    require()
    from umlite.kernels.triton.decide import launch_decide

    bits = sums.new_empty(sums.shape[1:], dtype=_kind(len(sums)))
    broken = sums.new_zeros((), dtype=bits.dtype)
    launch_decide(sums, bits, broken)
    return bits, broken


@decide_bits.register_fake
def _(sums: Tensor) -> tuple[Tensor, Tensor]:
    kind = _kind(sums.shape[0])
    return sums.new_empty(sums.shape[1:], dtype=kind), sums.new_empty((), dtype=kind)


def decide(
    sums: Tensor, names: Sequence[str], operation: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None
) -> Tensor:
    """The bits of `decide_bits`, once every sum is known to be finite; waits for the device.

    names: of the classes. operation: in place of `decide_bits`. Raises WeightsError, naming the first class that has a
    sum which is not finite.
    """
    bits, broken = (operation or decide_bits)(sums)
    word = int(broken) & (2**64 - 1)  # bit 63 makes the number negative
    if word:
        name = names[(word & -word).bit_length() - 1]
        raise WeightsError(f"The network answered NaN or infinity for {name}: these weights do not work.")
    return bits


def _kind(classes: int) -> torch.dtype:
    (size,) = word_bytes(classes)
    return {4: torch.int32, 8: torch.int64}[size]  # torch shifts no unsigned integers
