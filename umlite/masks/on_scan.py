"""Masks on the scan's own grid, for all classes at once and a few planes at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from umlite.masks.bitmask import BitMask
from umlite.volume.preparation import Frame, nearest_places, restore

_SLAB_VOXELS = 1 << 20


class MasksOnScan(ABC):
    """Masks of several classes on a scan's grid, wherever they are kept: every reading gives the same.

    shape: of the scan, [X, Y, Z]. names: of the classes; bit k of what is read belongs to names[k].
    """

    shape: tuple[int, int, int]
    names: tuple[str, ...]

    @abstractmethod
    def planes(self, first: int, end: int) -> BitMask:
        """Planes `first` to `end` (excluded) of the scan's last axis. Those that follow the last call's cost least."""

    @abstractmethod
    def groups(self) -> Iterator[MasksOnScan]:
        """The same masks, 64 classes at a time: what a single integer a voxel holds."""

    @property
    def slab_planes(self) -> int:
        """Planes of a slab by default: about a million voxels."""
        return max(1, _SLAB_VOXELS // (self.shape[0] * self.shape[1]))

    def slabs(self, planes: int | None = None) -> Iterator[BitMask]:
        """All planes in order, `planes` at a time (`slab_planes` by default), fewer at the end."""
        step = planes or self.slab_planes
        for first in range(0, self.shape[2], step):
            yield self.planes(first, min(first + step, self.shape[2]))

    def mask(self, name: str) -> npt.NDArray[np.bool_]:
        """Mask of one class, bool [X, Y, Z]. Raises RequestError if there is none."""
        return np.concatenate([slab.mask(name) for slab in self.slabs()], axis=2)

    def counts(self) -> dict[str, int]:
        """Number of voxels of each class."""
        counts = dict.fromkeys(self.names, 0)
        for slab in self.slabs():
            for name, count in slab.counts().items():
                counts[name] += count
        return counts


class ResampledMasks(MasksOnScan):
    """Masks that are kept on the model's grid and resampled to the scan's grid where they are read.

    Resampling is nearest neighbour, by `umlite.volume.preparation.restore`.

    Args:
        bits: masks of the frame's cropped volume.
        frame: the way back to the scan's grid.

    Raises:
        ValueError: masks of another shape.
    """

    def __init__(self, bits: BitMask, frame: Frame) -> None:
        if bits.shape != frame.shape:
            raise ValueError(f"expected masks of shape {frame.shape}, the cropped volume's, got {bits.shape}")
        self.shape, self.names = frame.scan_shape, bits.names
        self._bits, self._frame = bits, frame

    @property
    def on_model(self) -> BitMask:
        """The masks as they are stored: on the frame's cropped volume."""
        return self._bits

    @property
    def frame(self) -> Frame:
        """The way from there to the scan's grid."""
        return self._frame

    def planes(self, first: int, end: int) -> BitMask:
        """Planes `first` to `end` (excluded) of the scan's last axis."""
        return self._bits.mapped(lambda word: restore(word, self._frame, slice(first, end)))

    def groups(self) -> Iterator[MasksOnScan]:
        for group in self._bits.groups():
            yield ResampledMasks(group, self._frame)

    def places_in_model(self, places: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """Voxels of the cropped volume, [n, 3], whose labels these voxels of the scan, [n, 3], got."""
        return nearest_places(places, self._frame)

    def mask(self, name: str) -> npt.NDArray[np.bool_]:
        return restore(self._bits.mask(name), self._frame)
