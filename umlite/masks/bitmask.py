"""Overlapping masks in one integer per voxel, one bit per class: four bytes a voxel instead of one per class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from umlite.classes import MAX_CLASSES, mask_bytes
from umlite.errors import RequestError

Box = tuple[slice, slice, slice]
"""Half-open index ranges along X, Y, Z, with both ends given."""


@dataclass(frozen=True, eq=False)
class BitMask:
    """Masks of several classes over one grid. The classes may overlap.

    Part of a scan, such as a slab, is `BitMask(bits[:, :, start:stop], names)`.

    Args:
        bits: [X, Y, Z], uint32 for up to 32 classes, uint64 for up to 64, in any memory layout. The array is not
            copied, and `set_mask` writes to it.
        names: canonical class names; bit k belongs to names[k].

    Raises:
        RequestError: more than 64 names, or repeated ones.
        ValueError: bits of another shape or dtype.
    """

    bits: npt.NDArray[Any]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        dtype = _bits_dtype(self.names)
        if self.bits.ndim != 3 or self.bits.dtype != dtype:
            raise ValueError(
                f"The bits of {len(self.names)} classes are a {dtype} array [X, Y, Z]; "
                f"got {self.bits.dtype}, shape {self.bits.shape}."
            )

    @classmethod
    def zeros(cls, shape: Sequence[int], names: Sequence[str]) -> BitMask:
        """Empty masks of the named classes over a grid [X, Y, Z]."""
        return cls(np.zeros(tuple(shape), _bits_dtype(names)), tuple(names))

    @classmethod
    def from_masks(cls, masks: Mapping[str, npt.NDArray[np.bool_]]) -> BitMask:
        """Masks given by class name, bool [X, Y, Z], all of one shape. Raises ValueError if there are none."""
        if not masks:
            raise ValueError("from_masks needs at least one mask: an empty mapping has no shape.")
        bitmask = cls.zeros(next(iter(masks.values())).shape, tuple(masks))
        for name, mask in masks.items():
            bitmask.set_mask(name, mask)
        return bitmask

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the grid, [X, Y, Z]."""
        return self.bits.shape

    def mask(self, name: str, box: Box | None = None) -> npt.NDArray[np.bool_]:
        """Mask of one class.

        Args:
            name: canonical name.
            box: part of the grid; all of it by default.

        Returns:
            Bool, of the shape of the grid or of the box, in the memory layout of the bits.

        Raises:
            RequestError: the masks do not hold this class.
        """
        bits = self.bits if box is None else self.bits[box]
        mask = np.empty_like(bits, dtype=np.bool_)
        # A cast of the ufunc's output is buffered: no temporary the size of the bits.
        np.bitwise_and(bits, self._bit(name), out=mask, casting="unsafe")
        return mask

    def class_masks(self, names: Sequence[str]) -> Iterator[tuple[str, ClassMask]]:
        """Masks of the named classes, to be read a few planes at a time. The bits must not change meanwhile.

        Raises:
            RequestError: the masks do not hold one of these classes.
        """
        planes = np.bitwise_or.reduce(self.bits, axis=(0, 1))
        for name in names:
            yield name, ClassMask(self, name, (planes & self._bit(name)) != 0)

    def set_mask(self, name: str, mask: npt.NDArray[np.bool_], box: Box | None = None) -> None:
        """Replace the mask of one class in place, everywhere or inside `box`.

        Args:
            name: canonical name.
            mask: bool, of the shape of the grid or of the box.
            box: part of the grid; all of it by default.

        Raises:
            RequestError: the masks do not hold this class.
            ValueError: a mask of another shape or dtype.
        """
        bit = self._bit(name)
        bits = self.bits if box is None else self.bits[box]
        if mask.shape != bits.shape or mask.dtype != np.bool_:
            raise ValueError(f"Expected a bool mask of shape {bits.shape}; got {mask.dtype}, shape {mask.shape}.")
        for bits_slab, mask_slab in _slabs(bits, mask):
            bits_slab &= ~bit
            bits_slab |= mask_slab * bit

    def select(self, names: Sequence[str]) -> BitMask:
        """A copy with only the named classes, in the given order.

        Raises:
            RequestError: the masks do not hold a class, or it is named twice.
        """
        selected = BitMask.zeros(self.shape, names)
        groups: dict[int, int] = {}
        for k, name in enumerate(names):
            bit = int(self._bit(name))
            shift = k - (bit.bit_length() - 1)
            groups[shift] = groups.get(shift, 0) | bit
        integer = self.bits.dtype.type
        for source, target in _slabs(self.bits, selected.bits):
            for shift, group in groups.items():
                moved = source & integer(group)
                moved = moved << integer(shift) if shift >= 0 else moved >> integer(-shift)
                target |= moved.astype(target.dtype, copy=False)
        return selected

    def counts(self) -> dict[str, int]:
        """Number of voxels of each class."""
        counts = dict.fromkeys(self.names, 0)
        for (slab,) in _slabs(self.bits):
            anywhere = np.bitwise_or.reduce(slab, axis=None)
            for name in self.names:
                if anywhere & self._bit(name):
                    counts[name] += int(np.count_nonzero(slab & self._bit(name)))
        return counts

    def boxes(self) -> dict[str, Box]:
        """The smallest box around each class, found in one pass over the bits. Empty classes have no entry."""
        y_z = np.bitwise_or.reduce(self.bits, axis=0)
        profiles = (
            np.bitwise_or.reduce(self.bits, axis=(1, 2)),
            np.bitwise_or.reduce(y_z, axis=1),
            np.bitwise_or.reduce(y_z, axis=0),
        )
        boxes: dict[str, Box] = {}
        for name in self.names:
            x, y, z = (np.flatnonzero(profile & self._bit(name)) for profile in profiles)
            if x.size:
                boxes[name] = (_range(x), _range(y), _range(z))
        return boxes

    def _bit(self, name: str) -> np.unsignedinteger[Any]:
        if name not in self.names:
            held = ", ".join(self.names) or "none"
            raise RequestError(f"No mask of {name!r} was computed. Computed: {held}.")
        bit: np.unsignedinteger[Any] = self.bits.dtype.type(1 << self.names.index(name))
        return bit


@dataclass(frozen=True, eq=False)
class ClassMask:
    """Mask of one class that looks like a bool array [X, Y, Z] and is computed where it is indexed.

    Args:
        source: the masks of all classes.
        name: canonical name.
        planes: bool [Z], whether the class occurs in each plane.
    """

    source: BitMask
    name: str
    planes: npt.NDArray[np.bool_]

    dtype = np.dtype(np.bool_)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the grid, [X, Y, Z]."""
        return self.source.shape

    def __getitem__(self, box: Box) -> npt.NDArray[np.bool_]:
        return self.source.mask(self.name, box)


def _bits_dtype(names: Sequence[str]) -> np.dtype[Any]:
    if len(names) > MAX_CLASSES:
        raise RequestError(
            f"A bit mask holds up to {MAX_CLASSES} classes, and {len(names)} were asked for. Ask for fewer at a time.",
            about="classes",
        )
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise RequestError(f"The classes of a bit mask must differ; named more than once: {', '.join(twice)}.")
    return np.dtype(f"u{mask_bytes(len(names))}")


def _slabs(*arrays: npt.NDArray[Any]) -> Iterator[tuple[npt.NDArray[Any], ...]]:
    """Matching planes of all arrays, one after the other, so that temporaries stay in cache and no array is copied."""
    axis = int(np.argmax(np.abs(arrays[0].strides)))
    return zip(*(np.moveaxis(array, axis, 0) for array in arrays), strict=True)


def _range(places: npt.NDArray[np.intp]) -> slice:
    return slice(int(places[0]), int(places[-1]) + 1)
