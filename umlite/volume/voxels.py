"""Voxels of a scan in HU: held in memory or, where they are many, read from their file whenever they are wanted."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from umlite.errors import InputError
from umlite.volume.nifti import Size, read_array, read_slabs, reading
from umlite.volume.scaling import Ends, hu_dtype, range_of, to_hu

HELD_BYTES = 1 << 28
"""Stored voxels of more bytes than these are not held."""
_SLAB_BYTES = 1 << 22


@dataclass(frozen=True, eq=False)
class HeldVoxels:
    """hu: int16 or float32 [X, Y, Z]."""

    hu: np.ndarray

    @property
    def shape(self) -> Size:
        x, y, z = self.hu.shape
        return x, y, z

    @property
    def dtype(self) -> np.dtype:
        return self.hu.dtype

    def ends(self) -> Ends:
        """Least and greatest HU; not finite where any voxel is not."""
        return range_of(self.hu)

    def whole(self) -> np.ndarray:
        """All of them: the array that is held."""
        return self.hu

    def slabs(self) -> Iterator[np.ndarray]:
        """All of them, a few planes of the last axis at a time."""
        step = _planes(self.shape, self.dtype)
        return (self.hu[:, :, first : first + step] for first in range(0, self.shape[2], step))


@dataclass(frozen=True, eq=False)
class FileVoxels:
    """Voxels in a file that was read to its end once. Reading it again raises InputError where that fails now.

    path: of the voxels, which begin at byte `offset` of the unpacked file, of type `stored`. slope, inter: to HU.
    stored_ends: least and greatest stored number. checksum: CRC-32 of the stored voxels.
    """

    path: Path
    offset: int
    shape: Size
    stored: np.dtype
    slope: float
    inter: float
    stored_ends: Ends
    checksum: int

    @classmethod
    def checked(cls, path: Path, offset: int, shape: Size, stored: np.dtype, slope: float, inter: float) -> FileVoxels:
        """Read the file once, a few planes at a time. Raises InputError."""
        lows, highs, checksum = [], [], 0
        for slab in read_slabs(path, offset, shape, stored, _planes(shape, stored)):
            low, high = range_of(slab)
            lows.append(low)
            highs.append(high)
            checksum = _checksum(slab, checksum)
        ends = float(np.min(lows)), float(np.max(highs))
        return cls(path, offset, shape, stored, slope, inter, ends, checksum)

    @property
    def dtype(self) -> np.dtype:
        return hu_dtype(self.stored, self.slope, self.inter, lambda: self.stored_ends)

    def ends(self) -> Ends:
        """Least and greatest HU; not finite where any voxel is not."""
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (np.array(self.stored_ends) * self.slope + self.inter).astype(self.dtype)
        return float(scaled.min()), float(scaled.max())

    def whole(self) -> np.ndarray:
        """All of them, read anew."""
        raw = read_array(self.path, self.offset, self.shape, self.stored)
        self._compare(_checksum(raw, 0))
        with reading(self.path):
            return to_hu(raw, self.slope, self.inter, in_place=True, ends=self.stored_ends)

    def slabs(self) -> Iterator[np.ndarray]:
        """All of them, read anew, a few planes of the last axis at a time; only after the last they are known good."""
        checksum = 0
        for raw in read_slabs(self.path, self.offset, self.shape, self.stored, _planes(self.shape, self.stored)):
            checksum = _checksum(raw, checksum)
            yield to_hu(raw, self.slope, self.inter, in_place=True, ends=self.stored_ends)
        self._compare(checksum)

    def _compare(self, checksum: int) -> None:
        if checksum != self.checksum:
            raise InputError(
                f"{self.path} changed while it was read: expected the same voxels as at first. Wait until it is "
                f"complete, then start again."
            )


Voxels = HeldVoxels | FileVoxels


def file_voxels(path: Path, offset: int, shape: Size, stored: np.dtype, slope: float, inter: float) -> Voxels:
    """The voxels of a file, held where they are at most HELD_BYTES. Arguments as of FileVoxels. Raises InputError."""
    if math.prod(shape) * stored.itemsize > HELD_BYTES:
        return FileVoxels.checked(path, offset, shape, stored, slope, inter)
    raw = read_array(path, offset, shape, stored)
    with reading(path):
        return HeldVoxels(to_hu(raw, slope, inter, in_place=True))


def _planes(shape: Size, dtype: np.dtype) -> int:
    return max(1, _SLAB_BYTES // (shape[0] * shape[1] * dtype.itemsize))


def _checksum(slab: np.ndarray, before: int) -> int:
    """slab: in Fortran order and without gaps, as it was read."""
    return zlib.crc32(slab.reshape(-1, order="F").view(np.uint8).data, before)
