"""Masks in a file on the scan's grid, read a few planes at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np

from umlite.classes import mask_bytes
from umlite.errors import InputError
from umlite.masks.bitmask import BitMask
from umlite.masks.on_scan import MasksOnScan
from umlite.volume.voxels import Stored


class StoredMasks(MasksOnScan):
    """Masks of the named classes, in that order.

    Args:
        stored: where the bits are.
        held: name of the class of each bit.
        names: the classes to read.
    """

    def __init__(self, stored: Stored, held: Sequence[str], names: Sequence[str]) -> None:
        self.shape, self.names = stored.shape, tuple(names)
        self._stored, self._held = stored, tuple(held)
        self._dtype = np.dtype(f"u{mask_bytes(len(held))}")
        self._lock = threading.Lock()
        self._pieces: Iterator[np.ndarray] = iter(())
        self._first, self._piece = 0, np.empty((*self.shape[:2], 0), self._dtype)

    def select(self, names: Sequence[str]) -> StoredMasks:
        """Some of the masks, in this order, from the same file."""
        return StoredMasks(self._stored, self._held, names)

    def check(self) -> None:
        """Read all of the file. Raises InputError where it is damaged or holds bits of no class."""
        for _ in self.slabs():
            pass

    def planes(self, first: int, end: int) -> BitMask:
        """Planes `first` to `end`. A call that goes back reads the file from its beginning. Raises InputError."""
        with self._lock:
            if first < self._first or not self._piece.shape[2]:
                self._pieces = self._stored.slabs(self.slab_planes)
                self._first, self._piece = 0, next(self._pieces)
            parts = [self._piece[:, :, :0]]
            while first < end:
                while first >= self._first + self._piece.shape[2]:
                    self._first += self._piece.shape[2]
                    self._piece = next(self._pieces)
                parts.append(self._piece[:, :, first - self._first : end - self._first])
                first += parts[-1].shape[2]
            return self._masks(parts[1] if len(parts) == 2 else np.concatenate(parts, axis=2))

    def slabs(self, planes: int | None = None) -> Iterator[BitMask]:
        """Slabs as by `MasksOnScan.slabs`, each time in one pass through the file. Raises InputError."""
        return (self._masks(raw) for raw in self._stored.slabs(planes or self.slab_planes))

    def _masks(self, raw: np.ndarray) -> BitMask:
        bits = raw.astype(self._dtype, copy=False)
        everything = np.bitwise_or.reduce(bits, axis=None)
        if int(everything) >> len(self._held):
            raise InputError(
                f"{self._stored.path} has bits of more classes than it names: expected {len(self._held)}. It is "
                "damaged; segment the scan again."
            )
        masks = BitMask(bits, self._held)
        return masks if self.names == self._held else masks.select(self.names)
