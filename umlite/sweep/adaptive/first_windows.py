"""The first windows of an adaptive run: a few that cover the whole body, or one column through its middle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from umlite.sweep.window_field import WindowField
from umlite.windows import Size


def covering_windows(field: WindowField, window: Size) -> list[Size]:
    """Windows of the field's grid that together hold every voxel of the body, in the grid's order.

    The fewest are chosen along the streaming axis, then along the second axis, then along the third.
    """
    order = [field.axis, *(axis for axis in range(3) if axis != field.axis)]
    starts = [sorted({start[axis] for start in field.starts}) for axis in order]
    sides = [window[axis] for axis in order]
    body = body_of(field.voxels).permute(order)
    chosen = []
    for first, planes in _covering(body.any(2).any(1), starts[0], sides[0]):
        for second, rows in _covering(body[planes].any(2).any(0), starts[1], sides[1]):
            for third, _ in _covering(body[planes, rows].any(1).any(0), starts[2], sides[2]):
                found = (first, second, third)
                chosen.append((found[order.index(0)], found[order.index(1)], found[order.index(2)]))
    taken = set(chosen)
    return [start for start in field.starts if start in taken]


def central_windows(field: WindowField, window: Size) -> list[Size]:
    """One column of windows through the middle, the fewest that reach from end to end, in the grid's order."""
    kept = []
    for axis, side in enumerate(window):
        starts = sorted({start[axis] for start in field.starts})
        if axis == field.axis:
            everything = torch.ones(field.shape[axis], dtype=torch.bool)
            kept.append({start for start, _ in _covering(everything, starts, side)})
        else:
            middle = (field.shape[axis] - side) / 2
            kept.append({min(starts, key=lambda start: abs(start - middle))})
    return [start for start in field.starts if all(s in some for s, some in zip(start, kept, strict=True))]


def body_of(voxels: Tensor) -> Tensor:
    """The body as bool [X, Y, Z]: tissue, and voxels with tissue on both sides along x or along y.

    Tissue is everything above the lower end of the HU range. Lungs and bowel gas are inside the body, even where a
    small field of view cuts off the chest wall on one side; air around the patient is outside. A table or a blanket
    counts as tissue, which costs windows but loses nothing.
    """
    tissue = voxels > 0
    return tissue | _between(tissue, 0) | _between(tissue, 1)


def _between(tissue: Tensor, axis: int) -> Tensor:
    before = tissue.cummax(axis).values
    after = tissue.flip(axis).cummax(axis).values.flip(axis)
    return before & after


def _covering(wanted: Tensor, starts: Sequence[int], side: int) -> Iterator[tuple[int, slice]]:
    """The fewest of `starts` whose windows hold every wanted index, each with the range that it adds."""
    done = 0
    for index in torch.nonzero(wanted).flatten().tolist():
        if index >= done:
            start = max(s for s in starts if s <= index)
            done = start + side
            yield start, slice(index, done)
