"""All windows of a scan: over the whole volume at once, or streaming along one axis with a slab of sums in memory.

Both add the same windows in the same order to every voxel, so their results agree to the last bit.
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
from umlite.sweep.lesion_logits import LesionLogits
from umlite.sweep.mask_builder import MaskBuilder
from umlite.sweep.probability_file import ProbabilityFile
from umlite.sweep.runner import WindowCounts, WindowRunner
from umlite.sweep.slab import Part, Slab, device_for_sums
from umlite.sweep.window_field import WindowField, lay_out_windows
from umlite.windows import Size, total_importance


@torch.inference_mode()
def blended_logits(
    engine: Engine, voxels: Tensor, classes: Sequence[int], overlap: float, progress: Progress = no_progress
) -> Tensor:
    """Logits of a whole volume: the importance-weighted mean over windows, all in memory at once.

    Args:
        engine: computes the windows.
        voxels: [X, Y, Z] float32 in [0, 1].
        classes: positions of heads.
        overlap: of neighbouring windows, 0 <= overlap < 1.
        progress: called with the number of windows done and the number of all windows.

    Returns:
        [C, X, Y, Z] float32.

    Raises:
        RequestError: an overlap out of range.
        DeviceError: the result does not fit in memory.
    """
    if not voxels.numel():
        return voxels.new_zeros(len(classes), *voxels.shape)
    field = lay_out_windows(engine, voxels, overlap)
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
    lesion_logits: LesionLogits | None = None,
) -> tuple[BitMask, WindowCounts, int]:
    """Masks of a volume from all windows. They stream along one axis, so that only a slab of sums is in memory.

    Args:
        engine: computes the windows.
        voxels: [X, Y, Z] float32 in [0, 1].
        classes: positions of heads.
        names: their class names.
        overlap: of neighbouring windows, 0 <= overlap < 1.
        progress: called with the number of windows done and the number of all windows.
        probabilities, lesion_logits: also filled, if given.

    Returns:
        Masks [X, Y, Z], the counts of windows, and 0, the number of undecided voxels.

    Raises:
        RequestError: an overlap out of range.
        DeviceError: the slab does not fit in memory.
        WeightsError: the network gave a number that is not finite.
        OutputError: there is no room for `probabilities`.
    """
    begun = begin_sweep(engine, voxels, classes, names, overlap, progress, probabilities, lesion_logits)
    if begun is None:
        return BitMask.zeros(voxels.shape, names), WindowCounts(0, 0, 0), 0
    field, runner, builder = begun
    weighted = probabilities is not None or lesion_logits is not None
    for part in finished_parts(engine, field, field.starts, runner, weighted=weighted):
        builder.take(part)
    return builder.masks(), runner.counts(len(field.starts)), 0


def begin_sweep(
    engine: Engine,
    voxels: Tensor,
    classes: Sequence[int],
    names: Sequence[str],
    overlap: float,
    progress: Progress,
    probabilities: ProbabilityFile | None,
    lesion_logits: LesionLogits | None,
) -> tuple[WindowField, WindowRunner, MaskBuilder] | None:
    """The windows of a volume, what runs them and what becomes of their sums; None for a volume without voxels.

    Arguments and errors are those of `decide_volume`.
    """
    field = lay_out_windows(engine, voxels, overlap) if voxels.numel() else None
    if probabilities is not None:
        probabilities.begin(voxels.shape, field.axis if field else 0)
    if lesion_logits is not None:
        lesion_logits.begin(voxels.shape)
    if field is None:
        return None
    runner = WindowRunner(engine, field.voxels, classes, overlap, len(field.starts), progress)
    return field, runner, MaskBuilder(engine, field, names, probabilities, lesion_logits)


def finished_parts(
    engine: Engine, field: WindowField, starts: Sequence[Size], runner: WindowRunner, *, weighted: bool = False
) -> Iterator[Part]:
    """Run windows along the field's axis, and yield planes of sums as soon as no later window touches them.

    Args:
        engine: gives the window and the device for sums.
        field: the volume.
        starts: some or all of the field's windows, in their order.
        runner: runs them.
        weighted: also sum the importances, for parts with a `total`.

    Yields:
        Parts in the order of planes, without planes that none of these windows touches.

    Raises:
        DeviceError: the slab does not fit in memory.
    """
    axis = field.axis
    slab = Slab(engine, field, runner.classes, engine.card.window[axis], weighted=weighted)
    for place, row in itertools.groupby(starts, key=lambda start: start[axis]):
        yield from slab.advance(place)
        add_windows(runner, slab, list(row))
    yield from slab.finish()


def add_windows(runner: WindowRunner, slab: Slab, starts: Sequence[Size]) -> None:
    """Run windows in the given order and add them to a slab."""
    runner.add(starts, slab.sums, slab.origin)
    slab.added(starts)
