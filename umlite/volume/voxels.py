"""Voxels of a scan in HU: held in memory or, where they are many, read from their file whenever they are wanted.

Whole numbers stay int16, at half the memory of float32.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from umlite.errors import InputError
from umlite.volume.geometry import Size
from umlite.volume.nifti import read_array, read_slabs
from umlite.volume.unpacking import Notify, Section, reading
from umlite.volume.values import Counter, Ends, Values, parts_of, range_of

HELD_BYTES = 1 << 28
"""Stored voxels of more bytes than these are not held."""
_SLAB_BYTES = 1 << 22
_INT16 = np.iinfo(np.int16)


class Voxels(Protocol):
    """The voxels of one scan, [X, Y, Z] with axes as stored, in HU. Every reading gives the same numbers.

    A format is read once, to its end, before its voxels are made: what is damaged is found there. Reading again raises
    InputError where that fails now, at the latest after the last slab.
    """

    @property
    def shape(self) -> Size:
        """Number of voxels an axis."""

    @property
    def dtype(self) -> np.dtype:
        """int16 where whole numbers were stored and all of them fit, else float32; of `whole` and of every slab."""

    @property
    def is_held(self) -> bool:
        """Whether they are in memory, so that reading costs nothing."""

    def ends(self) -> Ends:
        """Least and greatest HU; not finite where any voxel is not."""

    def values(self) -> Values:
        """How their HU are distributed, from the pass that read them."""

    def whole(self) -> np.ndarray:
        """All of them as one array, which may be the one that is held: not to be written to."""

    def slabs(self, planes: int) -> Iterator[np.ndarray]:
        """All of them, `planes` planes of the last axis at a time, fewer at the end; each as `whole` is."""


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

    @property
    def is_held(self) -> bool:
        return True

    def ends(self) -> Ends:
        return range_of(self.hu)

    def values(self) -> Values:
        counter = Counter(self.shape)
        counter.add(self.hu)
        return Values(*counter.ends, counter.counts)

    def whole(self) -> np.ndarray:
        return self.hu

    def slabs(self, planes: int) -> Iterator[np.ndarray]:
        return (self.hu[:, :, first : first + planes] for first in range(0, self.shape[2], planes))


@dataclass(frozen=True, eq=False)
class Stored:
    """Where and how a file keeps voxels.

    They begin at byte `offset` of what `path` holds from byte `start` on, unpacked, of type `dtype`, x fastest. slope,
    inter: to HU. packed: whether that part of the file is a gzip; None where its first bytes tell.
    """

    path: Path
    offset: int
    shape: Size
    dtype: np.dtype
    slope: float
    inter: float
    start: int = 0
    packed: bool | None = None

    @property
    def section(self) -> Section:
        """The part of the file that holds them."""
        return Section(self.path, self.start, self.packed)

    def array(self, notify: Notify | None = None) -> np.ndarray:
        """All stored numbers. notify: as of `read_array`. Raises InputError."""
        return read_array(self.section, self.offset, self.shape, self.dtype, notify)

    def slabs(self, planes: int, notify: Notify | None = None) -> Iterator[np.ndarray]:
        """All stored numbers, `planes` planes at a time. Raises InputError."""
        return read_slabs(self.section, self.offset, self.shape, self.dtype, planes, notify)


@dataclass(frozen=True, eq=False)
class FileVoxels:
    """Voxels in a file that was read to its end once.

    stored_ends: least and greatest stored number. counts: as of `Values`. checksum: CRC-32 of the stored voxels.
    """

    stored: Stored
    stored_ends: Ends
    counts: np.ndarray
    checksum: int

    @classmethod
    def checked(cls, stored: Stored, notify: Notify | None = None) -> FileVoxels:
        """Read the file once, a few planes at a time. Raises InputError."""
        counter, checksum = Counter(stored.shape, stored.slope, stored.inter), 0
        for slab in stored.slabs(planes_of(stored.shape, stored.dtype), notify):
            counter.add(slab)
            checksum = _checksum(slab, checksum)
        return cls(stored, counter.ends, counter.counts, checksum)

    @property
    def shape(self) -> Size:
        return self.stored.shape

    @property
    def dtype(self) -> np.dtype:
        return _hu_dtype(self.stored.dtype, self.stored.slope, self.stored.inter, lambda: self.stored_ends)

    @property
    def is_held(self) -> bool:
        return False

    def ends(self) -> Ends:
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (np.array(self.stored_ends) * self.stored.slope + self.stored.inter).astype(self.dtype)
        return float(scaled.min()), float(scaled.max())

    def values(self) -> Values:
        return Values(*self.ends(), self.counts)

    def whole(self) -> np.ndarray:
        raw = self.stored.array()
        self._compare(_checksum(raw, 0))
        with reading(self.stored.path):
            return self._to_hu(raw)

    def slabs(self, planes: int) -> Iterator[np.ndarray]:
        checksum = 0
        for raw in self.stored.slabs(planes):
            checksum = _checksum(raw, checksum)
            yield self._to_hu(raw)
        self._compare(checksum)

    def _to_hu(self, raw: np.ndarray) -> np.ndarray:
        return to_hu(raw, self.stored.slope, self.stored.inter, in_place=True, ends=self.stored_ends)

    def _compare(self, checksum: int) -> None:
        if checksum != self.checksum:
            raise InputError(
                f"{self.stored.path} changed while it was read: expected the same voxels as at first. Wait until it is "
                f"complete, then start again."
            )


def file_voxels(stored: Stored, notify: Notify | None = None) -> Voxels:
    """The voxels of a file, held where they are at most HELD_BYTES.

    notify: hears of what follows the voxels and should not. Raises InputError.
    """
    if math.prod(stored.shape) * stored.dtype.itemsize > HELD_BYTES:
        return FileVoxels.checked(stored, notify)
    raw = stored.array(notify)
    with reading(stored.path):
        return HeldVoxels(to_hu(raw, stored.slope, stored.inter, in_place=True))


def planes_of(shape: Size, dtype: np.dtype) -> int:
    """Planes of the last axis, at least one, that fill about 4 MiB."""
    return max(1, _SLAB_BYTES // (shape[0] * shape[1] * dtype.itemsize))


def to_hu(
    raw: np.ndarray, slope: float, inter: float, *, in_place: bool = False, ends: Ends | None = None
) -> np.ndarray:
    """raw * slope + inter in the memory order of `raw`: int16 where that is exact, else float32, rounded once.

    raw: integers or floats. It becomes int16 where these are integers, slope and inter are whole and all results fit.
    in_place: `raw` may be changed and its memory kept. Without, `raw` itself is returned only where it is HU already.
    ends: least and greatest number of the whole that `raw` is a part of; its own by default.
    """
    plain = slope == 1 and inter == 0
    if _hu_dtype(raw.dtype, slope, inter, lambda: ends or range_of(raw)) == np.int16:
        if plain and raw.dtype == np.int16:
            return raw
        keep = in_place and raw.dtype.itemsize == 2
        hu = raw.view(np.int16) if keep else np.empty_like(raw, dtype=np.int16, subok=False)
        for part in parts_of(raw):
            hu[part] = raw[part].astype(np.int64) * int(slope) + int(inter)
        return hu
    if plain:
        with np.errstate(over="ignore", invalid="ignore"):
            return raw.astype(np.float32, order="K", copy=False)
    hu = np.empty_like(raw, dtype=np.float32, subok=False)
    for part in parts_of(raw):
        with np.errstate(over="ignore", invalid="ignore"):
            hu[part] = raw[part].astype(np.float64) * slope + inter
    return hu


def _hu_dtype(stored: np.dtype, slope: float, inter: float, ends: Callable[[], Ends]) -> np.dtype:
    """What `to_hu` makes of numbers of type `stored`. ends: their least and greatest, asked for where they matter."""
    whole, single = np.dtype(np.int16), np.dtype(np.float32)
    if stored.kind not in "iu" or not float(slope).is_integer() or not float(inter).is_integer():
        return single
    if slope == 1 and inter == 0 and stored.kind == "i" and stored.itemsize <= 2:
        return whole
    scaled = [value * slope + inter for value in ends()]
    return whole if min(scaled) >= _INT16.min and max(scaled) <= _INT16.max else single


def _checksum(slab: np.ndarray, before: int) -> int:
    """slab: in Fortran order and without gaps, as it was read."""
    return zlib.crc32(slab.reshape(-1, order="F").view(np.uint8).data, before)
