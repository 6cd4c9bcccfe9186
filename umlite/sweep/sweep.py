"""The way of the windows over a scan: whole, or as a stream along one axis with a slab of sums one window thick.

Both ways add the same windows in the same order to every voxel, so their results agree to the last bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from umlite.engines.engine import Engine
from umlite.gpu import transfer
from umlite.masks.bitmask import BitMask
from umlite.progress import Progress, no_progress
from umlite.sweep.answers import Answers
from umlite.sweep.field import Field, lay_out
from umlite.sweep.probability_file import ProbabilityFile
from umlite.sweep.runner import WindowCounts, WindowRunner
from umlite.sweep.slab import Part, Slab, device_for_sums
from umlite.windows import Size, total_importance


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
    device = device_for_sums(engine, len(classes), field.shape, more=1)
    sums = torch.zeros(len(classes), *field.shape, device=device)
    runner = WindowRunner(engine, field.voxels, classes, overlap, len(field.starts), progress)
    runner.add(field.starts, sums, (0, 0, 0))
    total = total_importance(field.shape, field.starts, transfer.to(engine.importance, sums.device))
    return sums.div_(total)[:, *field.inside]


@torch.inference_mode()
def decide_volume(
    engine: Engine,
    voxels: Tensor,
    classes: Sequence[int],
    names: Sequence[str],
    overlap: float,
    progress: Progress = no_progress,
    probabilities: ProbabilityFile | None = None,
) -> tuple[BitMask, WindowCounts, int]:
    """Which classes are present at each voxel, from all windows, streamed: only a slab of sums is in memory.

    voxels: [X, Y, Z] float32 in [0, 1]. classes: positions of heads; names: theirs. probabilities: filled as well.
    Returns masks [X, Y, Z], the counts of windows, and 0: the answer of no voxel is left open. Raises RequestError
    unless 0 <= overlap < 1, DeviceError when the slab does not fit in memory, WeightsError when the network answers
    nonsense, OutputError where `probabilities` finds no space.
    """
    field = lay_out(engine, voxels, overlap) if voxels.numel() else None
    if probabilities is not None:
        probabilities.begin(voxels.shape, field.axis if field else 0)
    if field is None:
        return BitMask.zeros(voxels.shape, names), WindowCounts(0, 0, 0), 0
    runner = WindowRunner(engine, field.voxels, classes, overlap, len(field.starts), progress)
    answers = Answers(engine, field, names, probabilities)
    for part in finished_parts(engine, field, field.starts, runner, weighted=probabilities is not None):
        answers.take(part)
    return answers.masks(), runner.counts(len(field.starts)), 0


def finished_parts(
    engine: Engine, field: Field, starts: Sequence[Size], runner: WindowRunner, *, weighted: bool = False
) -> Iterator[Part]:
    """Run windows along the field's axis, and give each slab of sums once no later window touches it.

    starts: some or all of the field's, in their order. weighted: give the sums of importances too.
    Planes that none of the windows touches are left out. Raises DeviceError when the slab does not fit.
    """
    axis = field.axis
    slab = Slab(engine, field, runner.classes, engine.card.window[axis], weighted=weighted)
    for place, row in itertools.groupby(starts, key=lambda start: start[axis]):
        yield from slab.advance(place)
        add_windows(runner, slab, list(row))
    yield from slab.finish()


def add_windows(runner: WindowRunner, slab: Slab, starts: Sequence[Size]) -> None:
    """Run windows in this order and add them to a slab."""
    runner.add(starts, slab.sums, slab.origin)
    slab.added(starts)
