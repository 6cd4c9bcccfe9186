"""What comes of finished sums: a bit per class, and probabilities where they are wanted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from umlite.engines.engine import Engine
from umlite.gpu import transfer
from umlite.masks.bitmask import BitMask, Box
from umlite.sweep.field import Field
from umlite.sweep.probability_file import ProbabilityFile
from umlite.sweep.slab import Part


class Answers:
    """Masks of a field, filled in part by part; empty where no part came.

    names: of the classes, in the order of the sums. probabilities: gets those too; the parts then hold a `total`.
    """

    def __init__(
        self, engine: Engine, field: Field, names: Sequence[str], probabilities: ProbabilityFile | None = None
    ) -> None:
        self._engine, self._field, self._names = engine, field, names
        self._bits = BitMask.zeros(field.shape, names)
        self._target = signed_view(self._bits)
        self._probabilities = probabilities

    def take(self, part: Part) -> None:
        """Decide a part of the field. Raises WeightsError when a sum is not finite."""
        bits = self._engine.decide(part.sums, self._names)
        self._target[_box(part.origin, bits.shape)].copy_(transfer.to_host(bits))
        if self._probabilities is not None and part.total is not None:
            self._probabilities.write(self._field.inside, part)

    def masks(self) -> BitMask:
        """Of the volume, without the field's padding."""
        return BitMask(np.ascontiguousarray(self._bits.bits[self._field.inside]), self._bits.names)


def signed_view(bits: BitMask) -> Tensor:
    """The bits as a tensor of signed integers on the same memory: torch shifts no unsigned ones."""
    return torch.from_numpy(bits.bits.view(np.int64 if bits.bits.dtype.itemsize == 8 else np.int32))


def _box(origin: Sequence[int], shape: Sequence[int]) -> Box:
    x, y, z = (slice(first, first + count) for first, count in zip(origin, shape, strict=True))
    return x, y, z
