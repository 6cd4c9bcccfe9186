"""Memory that lives as long as a network: on huge pages if there are any, touched once, used by every window.

First touch of 226 MB costs 218 ms in pages of 4 KiB and 35 ms in pages of 2 MiB; a tensor that a framework allots
afresh for every layer and window pays that each time.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from umlite.cpu.activation import Floats, padded
from umlite.machine.in_threads import in_threads
from umlite.machine.memory import refused

HUGE_PAGE = 2 << 20
PAGE = 4 << 10
ALIGNMENT = 64
PART = 32 << 20
"""Bytes that a thread touches at a time."""


def untouched(*shape: int) -> Floats:
    """An array whose pages are not in memory, to count what a network would take.

    Raises DeviceError when the system refuses to promise the memory.
    """
    try:
        return np.zeros(shape, np.float32)
    except MemoryError as error:
        raise refused(4 * int(np.prod(shape)), "the network") from error


def zeros(*shape: int, threads: int = 1) -> Floats:
    """A zeroed float32 array, C-contiguous, private to this process.

    It is aligned to 64 bytes, from 2 MiB on to 2 MiB.

    Args:
        shape: its shape.
        threads: how many touch its pages, which takes most of the time.

    Raises:
        DeviceError: the system refuses the memory.
    """
    size = int(np.prod(shape)) * 4
    alignment = ALIGNMENT if size < HUGE_PAGE else HUGE_PAGE
    try:
        memory = np.zeros(size + alignment, np.uint8) if size < HUGE_PAGE else _huge(size + alignment)
    except (MemoryError, OSError) as error:
        raise refused(size, "the network") from error
    skip = -memory.ctypes.data % alignment
    used = memory[skip : skip + size]
    _touch(used, threads)
    return used.view(np.float32).reshape(shape)


def trim() -> None:
    """Give freed memory back to the system if the C library kept it for later, as glibc does."""
    with suppress(OSError, AttributeError, TypeError):  # no such library, or no such function
        ctypes.CDLL(None).malloc_trim(0)


class Arena:
    """Memory that several tensors use in turn: each takes a part of what is left, and `reuse` starts again.

    Args:
        memory: all of it, in any shape.
        allot: makes tensors that find too little left.
    """

    def __init__(self, memory: Floats, allot: Callable[..., Floats]) -> None:
        self._memory, self._allot = memory.reshape(-1), allot
        self._taken = 0

    def take(self, *shape: int) -> Floats:
        """Take a float32 array. Its numbers are unspecified; fresh zeros if too little is left."""
        size = int(np.prod(shape))
        start = self._taken
        if start + size > self._memory.size:
            return self._allot(*shape)
        self._taken += padded(size)
        return self._memory[start : start + size].reshape(shape)

    def reuse(self) -> None:
        """Start again: all tensors taken so far must have been read when those taken next are written."""
        self._taken = 0


def _touch(memory: NDArray[np.uint8], threads: int) -> None:
    """Bring every page into memory now, so that no window pays for it. The system gave zeros."""

    def touch(start: int) -> None:
        memory[start : start + PART : PAGE] = 0

    in_threads(touch, range(0, memory.size, PART), threads)


def _huge(size: int) -> NDArray[np.uint8]:
    if not hasattr(mmap, "MAP_PRIVATE"):
        return np.zeros(size, np.uint8)
    # Python's default is a shared map, on which the request for huge pages succeeds and does nothing.
    area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without huge pages
            area.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(area, np.uint8)
