"""What a reader still has to apply to an activation, as the C kernels take it (`pending_t` in source/pending.h)."""

from __future__ import annotations

import ctypes

import numpy as np

from umlite.cpu.activation import Activation

Array = np.ndarray[tuple[int, ...], np.dtype[np.float32]] | np.ndarray[tuple[int, ...], np.dtype[np.float64]]


class Pending(ctypes.Structure):
    """`pending_t`. Holds addresses: the activation must outlive it."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("data", "scale", "shift")),
        *((name, ctypes.c_void_p) for name in ("residual", "residual_scale", "residual_shift")),
        *((name, ctypes.c_long) for name in ("residual_channels", "channels")),
        ("slope", ctypes.c_float),
    )


def pending(activation: Activation) -> Pending:
    """The addresses of an activation's arrays."""
    other = activation.residual
    return Pending(
        address(activation.data),
        address(activation.scale),
        address(activation.shift),
        address(other.data) if other else None,
        address(other.scale) if other else None,
        address(other.shift) if other else None,
        other.data.shape[-1] if other else 0,
        activation.data.shape[-1],
        activation.slope,
    )


def address(array: Array) -> int:
    """Where an array's first element lies."""
    return array.ctypes.data
