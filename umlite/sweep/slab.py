"""Sums of windows over a few planes of a scan: what windows still change is in memory, the rest is done with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from umlite.engines.engine import Engine
from umlite.gpu import transfer
from umlite.machine.memory import check_memory
from umlite.sweep.field import Field
from umlite.windows import Size, window_at


class Part(NamedTuple):
    """Sums of a part of a field: a view that its slab changes in the next step.

    origin: its first voxel. sums: [C, x, y, z], logits times importance. total: [x, y, z], the sum of importances, 0
    where no window ran; None where the slab was made without.
    """

    origin: Size
    sums: Tensor
    total: Tensor | None


class Slab:
    """Sums over `thickness` planes of a field along its axis, from plane `first` on.

    classes: how many. weighted: keep the sum of importances too, in one channel more.
    sums: [classes, x, y, z] float32, a view that `advance` shifts; windows are added to it.
    Raises DeviceError when the sums do not fit in memory.
    """

    def __init__(self, engine: Engine, field: Field, classes: int, thickness: int, *, weighted: bool = False) -> None:
        self._axis, self._window = field.axis, engine.card.window
        self._thickness = min(thickness, field.shape[field.axis])
        shape = list(field.shape)
        shape[field.axis] = self._thickness
        device = device_for_sums(engine, classes, shape, more=int(weighted))
        buffer = torch.zeros(classes + weighted, *shape, device=device)
        self._buffer, self.sums = buffer, buffer[:classes]
        self._total = buffer[classes] if weighted else None
        self._importance = transfer.to(engine.importance, buffer.device)
        self.first = 0
        self._end = 0  # one past the last plane that a window has touched

    @property
    def origin(self) -> Size:
        """First voxel of `sums` in the field."""
        return self._origin(self.first)

    def added(self, starts: Sequence[Size]) -> None:
        """Take note of windows that were added to `sums`; all of them lie within the slab's planes."""
        for start in starts:
            self._end = max(self._end, start[self._axis] + self._window[self._axis])
            if self._total is not None:
                x, y, z = (s - o for s, o in zip(start, self.origin, strict=True))
                self._total[window_at((x, y, z), self._window)] += self._importance

    def part(self, first: int, end: int) -> Part:
        """Planes `first` to `end`, which are in the slab."""
        count, begin = end - first, first - self.first
        total = None if self._total is None else self._total.narrow(self._axis, begin, count)
        return Part(self._origin(first), self.sums.narrow(self._axis + 1, begin, count), total)

    def advance(self, first: int) -> Iterator[Part]:
        """Let the slab begin at plane `first`: gives what lies before, as far as windows reached, and forgets it."""
        if first <= self.first:
            return
        if self._end > self.first:
            yield self.part(self.first, min(first, self._end))
        _advance(self._buffer, self._axis + 1, min(first - self.first, self._thickness))
        self.first, self._end = first, max(self._end, first)

    def finish(self) -> Iterator[Part]:
        """Give all that is left."""
        yield from self.advance(max(self._end, self.first))

    def _origin(self, first: int) -> Size:
        origin = [0, 0, 0]
        origin[self._axis] = first
        return origin[0], origin[1], origin[2]


def device_for_sums(engine: Engine, classes: int, shape: Sequence[int], more: int = 0) -> torch.device:
    """Where float32 sums of that many classes, and `more` volumes beside them, fit. Raises DeviceError."""
    purpose = f"Blending {classes} classes over {' x '.join(map(str, shape))} voxels"
    size = 4 * (classes + more) * int(torch.Size(shape).numel())
    device = engine.place_sums(size)
    check_memory(size, device, purpose)
    return device


def _advance(sums: Tensor, dim: int, planes: int) -> None:
    """Move what comes after the first `planes` to the front; behind it the buffer is zero again."""
    kept = sums.shape[dim] - planes
    for first in range(0, kept, planes):  # pieces that do not overlap their target
        count = min(planes, kept - first)
        sums.narrow(dim, first, count).copy_(sums.narrow(dim, first + planes, count))
    sums.narrow(dim, kept, planes).zero_()
