"""The way of the windows over a scan: whole, or as a stream along one axis with a slab of sums one window thick.

Both ways add the same windows in the same order to every voxel, so their results agree to the last bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from umlite.inference.bitmask import BitMask, Box
from umlite.inference.blending import Progress, no_progress
from umlite.inference.engine import Engine
from umlite.inference.memory import check_memory
from umlite.inference.window_runner import WindowCounts, WindowRunner
from umlite.inference.windows import Size, pad_to_window, streaming_axis, total_importance, window_grid


@dataclass(frozen=True, eq=False)
class Field:
    """A volume as the sweep sees it.

    voxels: [X, Y, Z] float32 on the engine's device, contiguous, zero-padded to at least a window.
    inside: where the volume itself lies in `voxels`. starts: first voxels of all windows, in their order.
    axis: along which the windows stream; they are ordered along it first.
    """

    voxels: Tensor
    inside: Box
    starts: list[Size]
    axis: int

    @property
    def shape(self) -> Size:
        x, y, z = self.voxels.shape
        return x, y, z


def lay_out(engine: Engine, voxels: Tensor, overlap: float) -> Field:
    """The field of a volume [X, Y, Z] float32 in [0, 1], not empty. Raises RequestError unless 0 <= overlap < 1."""
    window = engine.manifest.window
    padded, inside = pad_to_window(voxels.to(engine.plan.device), window)
    x, y, z = padded.shape
    axis = streaming_axis((x, y, z), window)
    return Field(padded.contiguous(), inside, window_grid((x, y, z), window, overlap, axis), axis)


@torch.inference_mode()
def blended_logits(
    engine: Engine, voxels: Tensor, classes: Sequence[int], overlap: float, progress: Progress = no_progress
) -> Tensor:
    """The importance-weighted mean of the windows' logits over a whole volume, all in memory at once.

    voxels: [X, Y, Z] float32 in [0, 1]. Returns [C, X, Y, Z] float32. progress: windows done, windows in all.
    Raises RequestError unless 0 <= overlap < 1, DeviceError when the result does not fit in memory.
    """
    if not voxels.numel():
        return voxels.new_zeros(len(classes), *voxels.shape)
    field = lay_out(engine, voxels, overlap)
    check_blending(engine, len(classes), field.shape, more=1)
    sums = torch.zeros(len(classes), *field.shape, device=engine.sums_device)
    runner = WindowRunner(engine, field.voxels, classes, overlap, len(field.starts), progress)
    runner.add(field.starts, sums, (0, 0, 0))
    total = total_importance(field.shape, field.starts, engine.importance.to(sums.device))
    return sums.div_(total)[:, *field.inside]


@torch.inference_mode()
def decide_volume(
    engine: Engine,
    voxels: Tensor,
    classes: Sequence[int],
    names: Sequence[str],
    overlap: float,
    progress: Progress = no_progress,
) -> tuple[BitMask, WindowCounts]:
    """Which classes are present at each voxel, from all windows, streamed: only a slab of sums is in memory.

    voxels: [X, Y, Z] float32 in [0, 1]. classes: positions of heads; names: theirs.
    Returns masks [X, Y, Z] and the counts of windows. Raises RequestError unless 0 <= overlap < 1, DeviceError when
    the slab does not fit in memory, WeightsError when the network answers nonsense.
    """
    if not voxels.numel():
        return BitMask.zeros(voxels.shape, names), WindowCounts(0, 0, 0)
    field = lay_out(engine, voxels, overlap)
    runner = WindowRunner(engine, field.voxels, classes, overlap, len(field.starts), progress)
    bits = BitMask.zeros(field.shape, names)
    target = signed_view(bits)
    for first, slab in finished_slabs(engine, field, field.starts, len(classes), runner.add):
        part = target.narrow(field.axis, first, slab.shape[field.axis + 1])
        part.copy_(engine.decide(slab, names))
    inside = BitMask(np.ascontiguousarray(bits.bits[field.inside]), bits.names)
    return inside, runner.counts(len(field.starts))


def finished_slabs(
    engine: Engine,
    field: Field,
    starts: Sequence[Size],
    classes: int,
    add: Callable[[Sequence[Size], Tensor, Size], None],
) -> Iterator[tuple[int, Tensor]]:
    """Run windows along the field's axis, and give each slab of sums once no later window touches it.

    starts: some or all of the field's, in their order. add: `WindowRunner.add`.
    Yields (first plane, sums [C, x, y, z]): the planes along `field.axis` from there on, in one buffer that the next
    step changes. Planes that none of the windows touches are left out. Raises DeviceError when the buffer does not fit.
    """
    axis, thickness = field.axis, engine.manifest.window[field.axis]
    shape = list(field.shape)
    shape[axis] = thickness
    check_blending(engine, classes, shape)
    sums = torch.zeros(classes, *shape, device=engine.sums_device)
    rows = [(place, list(row)) for place, row in itertools.groupby(starts, key=lambda start: start[axis])]
    for number, (place, row) in enumerate(rows):
        origin = [0, 0, 0]
        origin[axis] = place
        add(row, sums, (origin[0], origin[1], origin[2]))
        following = rows[number + 1][0] if number + 1 < len(rows) else place + thickness
        finished = min(following - place, thickness)
        yield place, sums.narrow(axis + 1, 0, finished)
        _advance(sums, axis + 1, finished)


def signed_view(bits: BitMask) -> Tensor:
    """The bits as a tensor of signed integers on the same memory: torch shifts no unsigned ones."""
    return torch.from_numpy(bits.bits.view(np.int64 if bits.bits.dtype.itemsize == 8 else np.int32))


def _advance(sums: Tensor, dim: int, planes: int) -> None:
    """Move what comes after the first `planes` to the front; behind it the buffer is zero again."""
    kept = sums.shape[dim] - planes
    for first in range(0, kept, planes):  # pieces that do not overlap their target
        count = min(planes, kept - first)
        sums.narrow(dim, first, count).copy_(sums.narrow(dim, first + planes, count))
    sums.narrow(dim, kept, planes).zero_()


def check_blending(engine: Engine, classes: int, shape: Sequence[int], more: int = 0) -> None:
    """Raise DeviceError unless that many classes, and `more` volumes beside them, fit in memory as float32."""
    purpose = f"Blending {classes} classes over {' x '.join(map(str, shape))} voxels"
    check_memory(4 * (classes + more) * int(np.prod(shape)), engine.sums_device, purpose)
