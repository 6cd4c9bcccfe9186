"""Adaptive windows: all windows where the requested classes are or could be, few elsewhere.

The windows of overlap 0.5 contain those of overlap 0: every other position along an axis, and the last. These run first
and cover every voxel. A voxel is active where the blended logit of a class is above `-margin`; with everything in reach
of an active voxel, in whole blocks, that is the active region. The remaining windows that touch the region run, and
new ones in rounds, until the region grows no more. Where a window's seam cuts through a class, one side is positive
and so active, and the other is in its reach.

In the active region all windows have run: its answer is that of all windows, up to the order of float32 additions.
Elsewhere the answer is that of the windows that ran. The sums of the whole volume are in memory, since a later round
may touch any part of it: 4 bytes per voxel for each class and one more. That suits requests of a few classes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from umlite.inference.bitmask import BitMask
from umlite.inference.blending import Progress, no_progress
from umlite.inference.engine import Engine
from umlite.inference.sweep import check_blending, lay_out, signed_view
from umlite.inference.window_runner import WindowCounts, WindowRunner
from umlite.inference.windows import Size, axis_starts, window_at

MARGIN = 4.0
"""Logits below the threshold at which a class still counts as possible: a probability of 0.018."""
BLOCK = 8
"""Side in voxels of the blocks that the active region is made of; its reach around an active block is one block."""

Blocks = npt.NDArray[np.bool_]


def coarse_starts(shape: Size, window: Size, overlap: float) -> list[Size]:
    """The fewest evenly taken windows of the grid that cover the volume: along an axis every n-th, and the last.

    At overlap 0.5 that is every other one, the grid of overlap 0. Below 0.5 it is the whole grid.
    Raises RequestError unless 0 <= overlap < 1.
    """
    axes = []
    for starts, side in zip(axis_starts(shape, window, overlap), window, strict=True):
        step = starts[1] - starts[0] if len(starts) > 2 else side
        axes.append(sorted({*starts[:: max(side // step, 1)], starts[-1]}))
    x, y, z = axes
    return list(itertools.product(x, y, z))


@torch.inference_mode()
def decide_adaptively(
    engine: Engine,
    voxels: Tensor,
    classes: Sequence[int],
    names: Sequence[str],
    overlap: float,
    progress: Progress = no_progress,
    margin: float = MARGIN,
) -> tuple[BitMask, WindowCounts, int]:
    """Which classes are present at each voxel, from the windows that matter for them; arguments as `decide_volume`.

    Returns the masks [X, Y, Z], the counts of windows, and the number of voxels whose answer could still differ: those
    that a window touches which did not run. Raises as `decide_volume` does, with the sums of the whole volume to fit.
    """
    if not voxels.numel():
        return BitMask.zeros(voxels.shape, names), WindowCounts(0, 0, 0), 0
    field = lay_out(engine, voxels, overlap)
    check_blending(engine, len(classes), field.shape, more=1)
    window, importance = engine.manifest.window, engine.importance.to(engine.sums_device)
    sums = torch.zeros(len(classes), *field.shape, device=engine.sums_device)
    total = torch.zeros(field.shape, device=engine.sums_device)
    runner = WindowRunner(engine, field.voxels, classes, overlap, len(field.starts), progress)
    first = set(coarse_starts(field.shape, window, overlap))
    waiting, chosen = list(field.starts), [start for start in field.starts if start in first]
    while chosen:
        runner.add(chosen, sums, (0, 0, 0))
        for start in chosen:
            total[window_at(start, window)] += importance
        done = set(chosen)
        waiting = [start for start in waiting if start not in done]
        region = grown(active_blocks(sums, total, margin))
        chosen = [start for start in waiting if touches(start, window, region)]
    bits = BitMask.zeros(field.shape, names)
    signed_view(bits).copy_(engine.decide(sums, names))
    inside = BitMask(np.ascontiguousarray(bits.bits[field.inside]), bits.names)
    return inside, runner.counts(len(field.starts)), _touched(waiting, window, field.shape, field.inside)


def active_blocks(sums: Tensor, total: Tensor, margin: float) -> Blocks:
    """Blocks of `BLOCK` voxels a side where a blended logit is above `-margin`.

    sums: [C, X, Y, Z]. total: [X, Y, Z], the sum of importances, positive. Returns one bool a block.
    """
    blocks = np.zeros([math.ceil(side / BLOCK) for side in total.shape], np.bool_)
    for x, (values, weight) in enumerate(zip(sums.unbind(1), total.unbind(0), strict=True)):
        plane = (values.amax(0) > -margin * weight).cpu().numpy()
        rows = np.logical_or.reduceat(plane, np.arange(0, plane.shape[0], BLOCK), axis=0)
        blocks[x // BLOCK] |= np.logical_or.reduceat(rows, np.arange(0, plane.shape[1], BLOCK), axis=1)
    return blocks


def grown(blocks: Blocks) -> Blocks:
    """The blocks and their 26 neighbours."""
    for axis in range(3):
        source = np.moveaxis(blocks, axis, 0)
        blocks = blocks.copy()
        target = np.moveaxis(blocks, axis, 0)
        target[1:] |= source[:-1]
        target[:-1] |= source[1:]
    return blocks


def touches(start: Size, window: Size, region: Blocks) -> bool:
    """Whether a window holds a voxel of the region."""
    x, y, z = (slice(s // BLOCK, math.ceil((s + side) / BLOCK)) for s, side in zip(start, window, strict=True))
    return bool(region[x, y, z].any())


def _touched(starts: Sequence[Size], window: Size, shape: Size, inside: tuple[slice, slice, slice]) -> int:
    mask = np.zeros(shape, np.bool_)
    for start in starts:
        mask[window_at(start, window)] = True
    return int(np.count_nonzero(mask[inside]))
