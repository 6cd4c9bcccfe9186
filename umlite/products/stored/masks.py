"""Masks in a file on the scan's grid, read a few planes at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np

from umlite.classes import WORD_CLASSES, word_bytes
from umlite.errors import InputError
from umlite.masks.bitmask import BitMask
from umlite.masks.on_scan import MasksOnScan
from umlite.volume.voxels import Stored


class StoredMasks(MasksOnScan):
    """Masks of the named classes, in that order.

    Args:
        volumes: where the bits of each 64 classes are.
        held: name of the class of each bit.
        names: the classes to read. Volumes without any of them are not read.
    """

    def __init__(self, volumes: Sequence[Stored], held: Sequence[str], names: Sequence[str]) -> None:
        self.shape, self.names = volumes[0].shape, tuple(names)
        self._volumes, self._held = tuple(volumes), tuple(held)
        groups = (self._held[n : n + WORD_CLASSES] for n in range(0, len(held), WORD_CLASSES))
        self._parts = [one for one in zip(volumes, groups, strict=True) if not set(names).isdisjoint(one[1])]
        self._lock = threading.Lock()
        self._pieces: Iterator[BitMask] = iter(())
        self._first, self._piece = 0, BitMask.zeros((*self.shape[:2], 0), self.names)

    def select(self, names: Sequence[str]) -> StoredMasks:
        """Some of the masks, in this order, from the same file."""
        return StoredMasks(self._volumes, self._held, names)

    def groups(self) -> Iterator[MasksOnScan]:
        for first in range(0, len(self.names), WORD_CLASSES):
            yield self.select(self.names[first : first + WORD_CLASSES])

    def check(self) -> None:
        """Read all of the file. Raises InputError where it is damaged or holds bits of no class."""
        for _ in self.slabs():
            pass

    def planes(self, first: int, end: int) -> BitMask:
        """Planes `first` to `end`. A call that goes back reads the file from its beginning. Raises InputError."""
        with self._lock:
            if first < self._first or not self._piece.shape[2]:
                self._pieces = self.slabs()
                self._first, self._piece = 0, next(self._pieces)
            parts = [self._cut(0, 0)]
            while first < end:
                while first >= self._first + self._piece.shape[2]:
                    self._first += self._piece.shape[2]
                    self._piece = next(self._pieces)
                parts.append(self._cut(first - self._first, end - self._first))
                first += parts[-1].shape[2]
            words = zip(*(part.words for part in parts), strict=True)
            return parts[1] if len(parts) == 2 else BitMask(tuple(np.concatenate(w, axis=2) for w in words), self.names)

    def slabs(self, planes: int | None = None) -> Iterator[BitMask]:
        """Slabs as by `MasksOnScan.slabs`, each time in one pass through the file. Raises InputError."""
        read = (stored.slabs(planes or self.slab_planes) for stored, _ in self._parts)
        return (self._masks(raw) for raw in zip(*read, strict=True))

    def _cut(self, first: int, end: int) -> BitMask:
        return self._piece.part(np.s_[:, :, first:end])

    def _masks(self, raw: Sequence[np.ndarray]) -> BitMask:
        words = []
        for bits, (stored, names) in zip(raw, self._parts, strict=True):
            if int(np.bitwise_or.reduce(bits, axis=None)) >> len(names):
                raise InputError(
                    f"{stored.path} has bits of more classes than it names: expected {len(self._held)}. It is "
                    "damaged; segment the scan again."
                )
            words.append(bits.astype(f"u{word_bytes(len(names))[0]}", copy=False))
        held = tuple(name for _, names in self._parts for name in names)
        masks = BitMask(tuple(words), held)
        return masks if self.names == held else masks.select(self.names)
