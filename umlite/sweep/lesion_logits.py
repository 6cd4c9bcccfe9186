"""Blended logits of the voxels that masks of lesions hold, kept one by one while a volume is decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from umlite.gpu import transfer
from umlite.masks.bitmask import Box
from umlite.sweep.slab import Part


class _Kept(NamedTuple):
    """Voxels of one class in one part: their numbers in C order of the volume, rising, and their logits."""

    numbers: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]


class LesionLogits:
    """Logits of the voxels where they are positive, for some of the classes of a sweep.

    Memory is twelve bytes per voxel of a lesion. A part that is taken again replaces what it gave before.

    Args:
        names: canonical names of the classes whose voxels are kept.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._shape: tuple[int, ...] = (0, 0, 0)
        self._parts: dict[str, list[_Kept]] = {name: [] for name in names}

    def begin(self, shape: Sequence[int]) -> None:
        """Start with a volume [X, Y, Z]."""
        self._shape = tuple(shape)

    def take(self, inside: Box, part: Part, names: Sequence[str]) -> None:
        """Keep the logits of a part.

        Args:
            inside: the box of the field that holds the volume.
            part: sums with their `total`.
            names: class names in the order of the sums; others get nothing.
        """
        assert part.total is not None
        for name in (name for name in self.names if name in names):
            self._parts[name].append(self._positive(inside, part, part.sums[names.index(name)], part.total))

    def at(self, name: str, places: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """Logits of voxels of one class. Others than its mask holds get NaN, or a logit that later windows changed.

        Args:
            name: canonical name.
            places: voxels of the volume, [n, 3].
        """
        kept = self._joined(name)
        wanted = np.ravel_multi_index(tuple(places.T), self._shape)
        found = np.full(len(wanted), np.nan, np.float32)
        if len(kept.numbers):
            slots = np.searchsorted(kept.numbers, wanted).clip(max=len(kept.numbers) - 1)
            known = kept.numbers[slots] == wanted
            found[known] = kept.logits[slots[known]]
        return found

    def _positive(self, inside: Box, part: Part, sums: Tensor, total: Tensor) -> _Kept:
        places = (sums > 0).nonzero()
        logits = sums[tuple(places.T)] / total[tuple(places.T)]
        ours = transfer.to_host(places).numpy() + np.subtract(part.origin, [along.start for along in inside])
        within = ((ours >= 0) & (ours < self._shape)).all(axis=1)
        numbers = np.ravel_multi_index(tuple(ours[within].T), self._shape)
        return _Kept(numbers.astype(np.int64), transfer.to_host(logits).numpy()[within])

    def _joined(self, name: str) -> _Kept:
        """All parts of a class in one, of voxels that came more than once the last."""
        parts = self._parts[name]
        if len(parts) > 1:
            numbers = np.concatenate([part.numbers for part in reversed(parts)])
            logits = np.concatenate([part.logits for part in reversed(parts)])
            numbers, first = np.unique(numbers, return_index=True)
            self._parts[name] = parts = [_Kept(numbers, logits[first])]
        return parts[0] if parts else _Kept(np.zeros(0, np.int64), np.zeros(0, np.float32))
