"""Overlapping masks as integers, one bit per class: four bytes a voxel for 32 classes instead of one per class.

An integer holds up to 64 classes. The next 64 lie in an array of their own, so that an operation on a class reads only
the integers that hold it, and 64 classes cost what one array costs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from umlite.classes import WORD_CLASSES, word_bytes
from umlite.errors import RequestError

Box = tuple[slice, slice, slice]
"""Half-open index ranges along X, Y, Z, with both ends given."""
Word = npt.NDArray[Any]
"""The bits of up to 64 classes: uint32 for up to 32, else uint64."""


@dataclass(frozen=True, eq=False)
class BitMask:
    """Masks of several classes over one grid. The classes may overlap.

    Args:
        words: arrays [X, Y, Z] in any memory layout, one per 64 classes: uint32 for up to 32 of them, else uint64. They
            are not copied, and `set_mask` writes to them.
        names: canonical class names; bit k of words[w] belongs to names[64 * w + k].

    Raises:
        RequestError: repeated names.
        ValueError: words of another number, shape or dtype.
    """

    words: tuple[Word, ...]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        dtypes = _word_dtypes(self.names)
        shapes = {word.shape for word in self.words}
        if [word.dtype for word in self.words] != dtypes or [len(shape) for shape in shapes] != [3]:
            raise ValueError(
                f"The bits of {len(self.names)} classes are {' and '.join(map(str, dtypes))} arrays [X, Y, Z]; "
                f"got {' and '.join(f'{word.dtype}, shape {word.shape}' for word in self.words)}."
            )

    @classmethod
    def zeros(cls, shape: Sequence[int], names: Sequence[str]) -> BitMask:
        """Empty masks of the named classes over a grid [X, Y, Z]."""
        return cls(tuple(np.zeros(tuple(shape), dtype) for dtype in _word_dtypes(names)), tuple(names))

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
        return self.words[0].shape

    def mapped(self, change: Callable[[Word], Word]) -> BitMask:
        """Masks of the same classes whose words are made from these, one by one."""
        return BitMask(tuple(change(word) for word in self.words), self.names)

    def part(self, box: Any) -> BitMask:
        """Masks of a part of the grid. box: what indexes the three axes of an array."""
        return self.mapped(lambda word: word[box])

    def groups(self) -> Iterator[BitMask]:
        """The same masks, 64 classes at a time, on the same memory."""
        for w, word in enumerate(self.words):
            yield BitMask((word,), self.names[w * WORD_CLASSES : (w + 1) * WORD_CLASSES])

    def along(self, axis: int) -> BitMask:
        """Which classes occur at each index along an axis: a grid whose other axes are one voxel long."""
        others = tuple(a for a in range(3) if a != axis)
        return self.mapped(lambda word: np.bitwise_or.reduce(word, axis=others, keepdims=True))

    def any(self) -> npt.NDArray[np.bool_]:
        """Where any class is, bool [X, Y, Z]."""
        anywhere: npt.NDArray[np.bool_] = self.words[0] != 0
        for word in self.words[1:]:
            anywhere |= word != 0
        return anywhere

    def shared(self) -> npt.NDArray[np.bool_]:
        """Where two classes or more are, bool [X, Y, Z]."""
        shared, *others = ((word & (word - word.dtype.type(1))) != 0 for word in self.words)
        if others:
            np.logical_or.reduce([shared, *others], out=shared)
            shared |= np.add.reduce([word != 0 for word in self.words], dtype=np.uint8) > 1
        return shared

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
        word, bit = self._place(name)
        bits = word if box is None else word[box]
        mask = np.empty_like(bits, dtype=np.bool_)
        # A cast of the ufunc's output is buffered: no temporary the size of the bits.
        np.bitwise_and(bits, bit, out=mask, casting="unsafe")
        return mask

    def class_masks(self, names: Sequence[str]) -> Iterator[tuple[str, ClassMask]]:
        """Masks of the named classes, to be read a few planes at a time. The bits must not change meanwhile.

        Raises:
            RequestError: the masks do not hold one of these classes.
        """
        planes = self.along(2)
        for name in names:
            yield name, ClassMask(self, name, planes.mask(name).ravel())

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
        word, bit = self._place(name)
        bits = word if box is None else word[box]
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
        groups: dict[tuple[int, int], dict[int, int]] = defaultdict(lambda: defaultdict(int))  # bits by their shift
        for k, name in enumerate(names):
            (source, here), (target, there) = divmod(self._index(name), WORD_CLASSES), divmod(k, WORD_CLASSES)
            groups[source, target][there - here] |= 1 << here
        for (source, target), moves in groups.items():
            _move(self.words[source], selected.words[target], moves)
        return selected

    def counts(self) -> dict[str, int]:
        """Number of voxels of each class."""
        counts = dict.fromkeys(self.names, 0)
        for group in self.groups():
            (word,) = group.words
            for (slab,) in _slabs(word):
                anywhere = int(np.bitwise_or.reduce(slab, axis=None))
                for k, name in enumerate(group.names):
                    if anywhere >> k & 1:
                        counts[name] += int(np.count_nonzero(slab & word.dtype.type(1 << k)))
        return counts

    def boxes(self) -> dict[str, Box]:
        """The smallest box around each class, found in one pass over the bits. Empty classes have no entry."""
        y_z = self.mapped(lambda word: np.bitwise_or.reduce(word, axis=0, keepdims=True))
        profiles = (self.along(0), y_z.along(1), y_z.along(2))
        boxes: dict[str, Box] = {}
        for name in self.names:
            x, y, z = (np.flatnonzero(profile.mask(name)) for profile in profiles)
            if x.size:
                boxes[name] = (_range(x), _range(y), _range(z))
        return boxes

    def _index(self, name: str) -> int:
        if name not in self.names:
            held = ", ".join(self.names) or "none"
            raise RequestError(f"No mask of {name!r} was computed. Computed: {held}.")
        return self.names.index(name)

    def _place(self, name: str) -> tuple[Word, np.unsignedinteger[Any]]:
        """The word that holds a class, and the class's bit in it."""
        at, k = divmod(self._index(name), WORD_CLASSES)
        word = self.words[at]
        bit: np.unsignedinteger[Any] = word.dtype.type(1 << k)
        return word, bit


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


def _word_dtypes(names: Sequence[str]) -> list[np.dtype[Any]]:
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if list(names).count(name) > 1})
        raise RequestError(f"The classes of a bit mask must differ; named more than once: {', '.join(twice)}.")
    return [np.dtype(f"u{count}") for count in word_bytes(len(names))]


def _move(source: Word, target: Word, moves: Mapping[int, int]) -> None:
    """Add bits of one word to another. moves: the bits of the source by how far they are shifted up."""
    wide = max(source.dtype, target.dtype, key=lambda dtype: dtype.itemsize)
    for bits, changed in _slabs(source, target):
        for shift, group in moves.items():
            moved = (bits & source.dtype.type(group)).astype(wide, copy=False)
            moved = moved << wide.type(shift) if shift >= 0 else moved >> wide.type(-shift)
            changed |= moved.astype(target.dtype, copy=False)


def _slabs(*arrays: npt.NDArray[Any]) -> Iterator[tuple[npt.NDArray[Any], ...]]:
    """Matching planes of all arrays, one after the other, so that temporaries stay in cache and no array is copied."""
    axis = int(np.argmax(np.abs(arrays[0].strides)))
    return zip(*(np.moveaxis(array, axis, 0) for array in arrays), strict=True)


def _range(places: npt.NDArray[np.intp]) -> slice:
    return slice(int(places[0]), int(places[-1]) + 1)
