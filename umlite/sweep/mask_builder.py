"""Finished sums to masks, one bit per class, and to probabilities and logits if they were asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from umlite.classes import WORD_CLASSES
from umlite.engines.engine import Engine
from umlite.gpu import transfer
from umlite.masks.bitmask import BitMask, Box, Word
from umlite.sweep.lesion_logits import LesionLogits
from umlite.sweep.probability_file import ProbabilityFile
from umlite.sweep.slab import Part
from umlite.sweep.window_field import WindowField


class MaskBuilder:
    """Collects the masks of a field, part by part. Voxels that no part covers stay empty.

    Args:
        engine: decides each part.
        field: the volume whose parts come.
        names: class names in the order of the sums.
        probabilities: where probabilities are written. None: no probabilities.
        lesion_logits: where logits of lesions are kept. None: no logits. With either, parts must hold a `total`.
    """

    def __init__(
        self,
        engine: Engine,
        field: WindowField,
        names: Sequence[str],
        probabilities: ProbabilityFile | None = None,
        lesion_logits: LesionLogits | None = None,
    ) -> None:
        self._engine, self._field, self._names = engine, field, names
        self._bits = BitMask.zeros(field.shape, names)
        self._groups = [(group.names, signed_view(*group.words)) for group in self._bits.groups()]
        self._probabilities, self._lesion_logits = probabilities, lesion_logits

    def take(self, part: Part) -> None:
        """Decide one part of the field.

        Raises:
            WeightsError: a sum is not finite.
            OutputError: probabilities cannot be written.
        """
        here = _box(part.origin, part.sums.shape[1:])
        for sums, (names, target) in zip(part.sums.split(WORD_CLASSES), self._groups, strict=True):
            target[here].copy_(transfer.to_host(self._engine.decide(sums, names)))
        if self._probabilities is not None and part.total is not None:
            self._probabilities.write(self._field.inside, part)
        if self._lesion_logits is not None:
            self._lesion_logits.take(self._field.inside, part, self._names)

    def masks(self) -> BitMask:
        """The masks of the volume, with the field's padding removed."""
        return self._bits.mapped(lambda word: np.ascontiguousarray(word[self._field.inside]))


def signed_view(word: Word) -> Tensor:
    """The bits as a tensor of signed integers on the same memory, since torch cannot shift unsigned ones."""
    return torch.from_numpy(word.view(np.int64 if word.dtype.itemsize == 8 else np.int32))


def _box(origin: Sequence[int], shape: Sequence[int]) -> Box:
    x, y, z = (slice(first, first + count) for first, count in zip(origin, shape, strict=True))
    return x, y, z
