"""Sums over a few planes of a scan: only planes that later windows still change are in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from umlite.engines.engine import Engine
from umlite.gpu import transfer
from umlite.machine.memory import check_memory
from umlite.sweep.window_field import WindowField
from umlite.windows import Size, window_at


class Part(NamedTuple):
    """Sums over part of a field: views of the slab's memory, valid until the slab moves on.

    Args:
        origin: first voxel in the field.
        sums: [C, x, y, z] float32, logits times importance.
        total: [x, y, z] float32, the sum of importances, 0 where no window ran; None if the slab does not keep it.
    """

    origin: Size
    sums: Tensor
    total: Tensor | None


class Slab:
    """Sums over consecutive planes of a field, starting at plane `first`.

    Windows are added to `sums`, [classes, x, y, z] float32, a view that `advance` shifts.

    Args:
        engine: gives the window, the importance and the device for sums.
        field: the volume that windows run over.
        classes: number of classes.
        thickness: number of planes along the field's axis.
        weighted: also keep the sum of importances, in one more channel.

    Raises:
        DeviceError: the sums do not fit in memory.
    """

    def __init__(
        self, engine: Engine, field: WindowField, classes: int, thickness: int, *, weighted: bool = False
    ) -> None:
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
        """Record that these windows, which all lie within the slab, have been added to `sums`."""
        for start in starts:
            self._end = max(self._end, start[self._axis] + self._window[self._axis])
            if self._total is not None:
                x, y, z = (s - o for s, o in zip(start, self.origin, strict=True))
                self._total[window_at((x, y, z), self._window)] += self._importance

    def part(self, first: int, end: int) -> Part:
        """Planes `first` to `end` (excluded), which must lie in the slab."""
        count, begin = end - first, first - self.first
        total = None if self._total is None else self._total.narrow(self._axis, begin, count)
        return Part(self._origin(first), self.sums.narrow(self._axis + 1, begin, count), total)

    def advance(self, first: int) -> Iterator[Part]:
        """Move the slab's start to plane `first`; first yield the planes before it that windows have reached."""
        if first <= self.first:
            return
        if self._end > self.first:
            yield self.part(self.first, min(first, self._end))
        _advance(self._buffer, self._axis + 1, min(first - self.first, self._thickness))
        self.first, self._end = first, max(self._end, first)

    def finish(self) -> Iterator[Part]:
        """Yield the remaining planes."""
        yield from self.advance(max(self._end, self.first))

    def _origin(self, first: int) -> Size:
        origin = [0, 0, 0]
        origin[self._axis] = first
        return origin[0], origin[1], origin[2]


def device_for_sums(engine: Engine, classes: int, shape: Sequence[int], more: int = 0) -> torch.device:
    """The device for float32 sums of a volume.

    Args:
        engine: chooses the device.
        classes: number of classes.
        shape: [X, Y, Z] of the sums.
        more: number of further volumes of that shape.

    Raises:
        DeviceError: they do not fit in its memory.
    """
    purpose = f"Blending {classes} classes over {' x '.join(map(str, shape))} voxels"
    size = 4 * (classes + more) * int(torch.Size(shape).numel())
    device = engine.place_sums(size)
    check_memory(size, device, purpose)
    return device


def _advance(sums: Tensor, dim: int, planes: int) -> None:
    """Drop the first `planes`, move the rest to the front, and zero the end."""
    kept = sums.shape[dim] - planes
    for first in range(0, kept, planes):  # pieces that do not overlap their target
        count = min(planes, kept - first)
        sums.narrow(dim, first, count).copy_(sums.narrow(dim, first + planes, count))
    sums.narrow(dim, kept, planes).zero_()
