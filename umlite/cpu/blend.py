"""Weighted addition of finished logits, as the native heads add theirs."""

from __future__ import annotations

import ctypes

from umlite.cpu.activation import Floats
from umlite.cpu.libraries import load
from umlite.cpu.mirror import Mirror, address


class _Blend(Mirror):
    declared = ("blend.c", "blend_t")
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("logits", "importance", "sums")),
        *((name, ctypes.c_int64) for name in ("class_stride", "depth_stride", "height_stride")),
        *((name, ctypes.c_int64) for name in ("depth", "height", "width", "classes", "threads")),
    )


def blend(logits: Floats, importance: Floats, sums: Floats, threads: int) -> None:
    """Add importance * logits to sums, in place, rounded as `Heads.add` rounds.

    Args:
        logits: [C, D, H, W] float32, contiguous.
        importance: [D, H, W] float32, contiguous.
        sums: [C, D, H, W] float32, contiguous along the last axis, any strides elsewhere.
        threads: threads to use.

    Raises:
        ValueError: other arrays.
        CompilerError: the kernel cannot be built.
    """
    if logits.shape != sums.shape or logits.shape[1:] != importance.shape:
        raise ValueError(f"Cannot add logits {logits.shape} times {importance.shape} to {sums.shape}.")
    addresses = address(logits), address(importance), address(sums, rows=True)
    strides = (stride // 4 for stride in sums.strides[:3])
    _, depth, height, width = logits.shape
    load("blend").blend(ctypes.byref(_Blend(*addresses, *strides, depth, height, width, len(logits), threads)))
