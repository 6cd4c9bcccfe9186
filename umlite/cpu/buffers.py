"""Memory that lives as long as a network: on huge pages where they are offered, touched once, used by every window.

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
"""What a thread touches at a time."""


def untouched(*shape: int) -> Floats:
    """An array of which no page is in memory yet: for counting what a network would take.

    Raises DeviceError where the system refuses to promise the memory.
    """
    try:
        return np.zeros(shape, np.float32)
    except MemoryError as error:
        raise refused(4 * int(np.prod(shape)), "the network") from error


def zeros(*shape: int, threads: int = 1) -> Floats:
    """Zeroed float32 array, C-contiguous, aligned to 64 bytes (2 MiB from 2 MiB on). Private to this process.

    threads: how many may touch its pages, which is what takes the time.
    Raises DeviceError where the system refuses it.
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
    """Give memory that was freed back to the system, where the C library keeps it for later (glibc does)."""
    with suppress(OSError, AttributeError, TypeError):  # no such library, or no such function
        ctypes.CDLL(None).malloc_trim(0)


class Arena:
    """Memory that several tensors share in turn: each takes what is left, until `reuse` says that none is needed.

    memory: what there is, any shape. allot: where tensors come from that find too little left.
    """

    def __init__(self, memory: Floats, allot: Callable[..., Floats]) -> None:
        self._memory, self._allot = memory.reshape(-1), allot
        self._taken = 0

    def take(self, *shape: int) -> Floats:
        """A float32 array of unspecified numbers; fresh zeros where too little is left."""
        size = int(np.prod(shape))
        start = self._taken
        if start + size > self._memory.size:
            return self._allot(*shape)
        self._taken += padded(size)
        return self._memory[start : start + size].reshape(shape)

    def reuse(self) -> None:
        """What was taken so far will have been read for the last time when what is taken next is written."""
        self._taken = 0


def _touch(memory: NDArray[np.uint8], threads: int) -> None:
    """Have every page in memory now, so that no window pays for it; the system gave zeros."""

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
