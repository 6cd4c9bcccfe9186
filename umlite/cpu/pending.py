"""What a reader still has to apply to an activation, as the C kernels take it."""

from __future__ import annotations

import ctypes

from umlite.cpu.activation import Activation
from umlite.cpu.mirror import Mirror


class Pending(Mirror):
    """The addresses of an activation's arrays."""

    declared = ("pending.h", "pending_t")
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("data", "scale", "shift")),
        *((name, ctypes.c_void_p) for name in ("residual", "residual_scale", "residual_shift")),
        *((name, ctypes.c_int64) for name in ("residual_shared", "channels")),
        ("slope", ctypes.c_float),
    )


def pending(activation: Activation) -> Pending:
    """An activation with everything that is pending. Raises ValueError if its residual has other channels."""
    made = Pending(channels=activation.data.shape[-1], slope=activation.slope)
    made.point(data=activation.data, scale=activation.scale, shift=activation.shift)
    if (other := activation.residual) is not None:
        stored = other.data.shape[-1]
        if stored not in (1, made.channels):
            raise ValueError(f"Expected a residual of {made.channels} stored channels or one, found {stored}.")
        made.residual_shared = int(stored == 1)
        made.point(residual=other.data, residual_scale=other.scale, residual_shift=other.shift)
    return made
