"""Training images: HU, which classes every voxel has, and which of them are known there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from umlite.classes import WORD_CLASSES, word_bytes
from umlite.errors import RequestError

Bits = NDArray[np.unsignedinteger[Any]]
"""A bit per class: uint32 for up to 32 classes, uint64 for up to 64 (`umlite.classes.word_bytes`)."""
_CENTRES_PER_CLASS = 200


@dataclass(frozen=True, eq=False)
class TrainingImage:
    """A labelled scan in RAS at the model's spacing. Bit c of a voxel stands for class number c of the model.

    Args:
        hu: float16 [X, Y, Z].
        present: `Bits` [X, Y, Z], the classes of each voxel.
        known: `Bits` [X, Y, Z], the classes that are labelled there; a class counts in the loss only where it is known.
        centres: some voxels of each class in the image, int [n, 3], by the class's number.
    """

    hu: NDArray[np.float16]
    present: Bits
    known: Bits
    centres: Mapping[int, NDArray[np.intp]]


def pack_masks(masks: Mapping[str, NDArray[np.bool_]], classes: Sequence[str]) -> Bits:
    """Masks as one bit per class, [X, Y, Z]; masks of names that are not in `classes` are left out."""
    shape = next(iter(masks.values())).shape
    kind = _kind(len(classes))
    bits = np.zeros(shape, kind)
    for place, name in enumerate(classes):
        if name in masks:
            bits |= masks[name].astype(kind) << kind(place)
    return bits


def unpack_bits(bits: Bits, classes: int) -> NDArray[np.bool_]:
    """Bits [N, ...] as masks [N, classes, ...]."""
    kind = bits.dtype.type
    places = np.arange(classes, dtype=kind).reshape(-1, *([1] * (bits.ndim - 1)))
    return (bits[:, None] >> places & kind(1)).astype(bool)


def class_bits(names: Sequence[str], classes: Sequence[str]) -> np.unsignedinteger[Any]:
    """The bits of several classes together; names that are not in `classes` are left out."""
    return _kind(len(classes))(sum(1 << classes.index(name) for name in names if name in classes))


def swap_sides(bits: Bits, classes: Sequence[str]) -> Bits:
    """Exchange every left class with its right one."""
    swapped, kind = bits.copy(), bits.dtype.type
    for left in (name for name in classes if name.startswith("left_")):
        right = "right_" + left.removeprefix("left_")
        if right not in classes:
            continue
        i, j = kind(classes.index(left)), kind(classes.index(right))
        differs = (bits >> i ^ bits >> j) & kind(1)
        swapped ^= differs << i | differs << j
    return swapped


def mirror(image: TrainingImage, classes: Sequence[str]) -> TrainingImage:
    """The mirror image: flipped left to right, left classes exchanged with right ones."""
    present, known = (swap_sides(bits[::-1], classes) for bits in (image.present, image.known))
    return replace(image, hu=image.hu[::-1], present=present, known=known, centres=find_centres(present, len(classes)))


def make_image(hu: NDArray[np.floating], present: Bits, known: Bits, classes: int) -> TrainingImage:
    """A TrainingImage cut to the box of what is not air, as inference does.

    Args:
        hu: [X, Y, Z].
        present, known: see `TrainingImage`.
        classes: how many the model has.
    """
    box = _body_box(hu)
    present = np.ascontiguousarray(present[box])
    return TrainingImage(
        np.ascontiguousarray(hu[box].astype(np.float16)),
        present,
        np.ascontiguousarray(known[box]),
        find_centres(present, classes),
    )


def find_centres(present: Bits, classes: int) -> dict[int, NDArray[np.intp]]:
    """Evenly picked voxels of every class that is present, at most about 400 each, by the class's number."""
    centres, kind = {}, present.dtype.type
    for place in range(classes):
        found = np.flatnonzero(present >> kind(place) & kind(1))
        if len(found):
            some = found[:: max(1, len(found) // _CENTRES_PER_CLASS)]
            centres[place] = np.stack(np.unravel_index(some, present.shape), axis=1)
    return centres


def _body_box(hu: NDArray[np.floating], air_hu: float = -175.0) -> tuple[slice, ...]:
    inside = hu > air_hu
    box = []
    for axis in range(3):
        found = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        box.append(slice(found[0], found[-1] + 1) if len(found) else slice(None))
    return tuple(box)


def _kind(classes: int) -> type[np.unsignedinteger[Any]]:
    if classes > WORD_CLASSES:
        raise RequestError(f"Expected up to {WORD_CLASSES} classes in training, found {classes}.")
    return np.uint32 if word_bytes(classes) == (4,) else np.uint64
