"""Which classes occur together: the sets of bits that voxels of a bit mask have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from umlite.masks.bitmask import BitMask, Word

Held = npt.NDArray[np.bool_]
"""Sets of classes, [sets, classes]: whether each set holds each class."""


def count_sets(masks: BitMask, where: npt.NDArray[np.bool_]) -> tuple[Held, npt.NDArray[np.int64]]:
    """The sets that occur in some voxels, each once, and how many of these voxels have each. where: bool [X, Y, Z]."""
    held, counts = _sets(masks, where, return_counts=True)
    return held, counts


def number_sets(masks: BitMask, where: npt.NDArray[np.bool_]) -> tuple[Held, npt.NDArray[np.int64]]:
    """The sets that occur in some voxels, each once, and the position of the set of each of these voxels, in C order.

    where: bool [X, Y, Z].
    """
    held, which = _sets(masks, where, return_inverse=True)
    return held, which


def _sets(masks: BitMask, where: npt.NDArray[np.bool_], **wanted: bool) -> tuple[Held, npt.NDArray[np.int64]]:
    key, *others = words = [word[where] for word in masks.words]
    if not others:
        found, more = np.unique(key, **wanted)  # type: ignore[call-overload]  # one further array
        return _unpacked([found], len(masks.names)), more
    for word in others:  # a number for each pair of what was found so far and the next word
        _, low = np.unique(key, return_inverse=True)
        _, high = np.unique(word, return_inverse=True)
        key = high * (low.max(initial=0) + 1) + low
    _, first, more = np.unique(key, return_index=True, **wanted)  # type: ignore[call-overload]
    return _unpacked([word[first] for word in words], len(masks.names)), more


def _unpacked(words: Sequence[Word], classes: int) -> Held:
    """Bits of each voxel, [voxels, classes], from words [voxels]."""
    parts: list[npt.NDArray[Any]] = [
        np.unpackbits(np.ascontiguousarray(word, "<u8").view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
        for word in words
    ]
    return np.concatenate(parts, axis=1)[:, :classes].astype(np.bool_)
