"""Adaptive windows: all windows where the requested classes are or could be, few elsewhere.

The first windows are the fewest of the grid that hold every voxel of the body. A voxel is active where the blended
logit of a class is above `-margin`. Blocks with an active voxel, and the blocks next to them, form the region. All
windows that touch the region run, and further ones in rounds, until it stops growing. Where a class changes sign across
a seam of the first windows, one side is positive and therefore active, so every window over that seam runs.

Inside the region all windows have run, so the result there is that of all windows, up to the order of float32
additions. Elsewhere it is the result of the windows that ran, and "absent" where none did.

Post-processing keeps only the largest component of most organs, and only the part of some lesions inside it. If all
classes of a run are of that kind and lie in the midline, one column of windows through the middle runs first. If the
column shows each organ, only what is connected to a component that could be the largest becomes active, and no other
first windows are needed; windows of the column that the region asks for run a second time. If the column does not show
each organ, the run continues like any other.

Windows stream through a slab of sums two and a half windows thick: an active voxel in new planes can still call for
windows that start up to one and a half windows earlier. In the rare case that a round reaches back further, the windows
there run again after the sweep.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from umlite.engines.engine import Engine
from umlite.masks.bitmask import BitMask
from umlite.progress import Progress, no_progress
from umlite.sweep.adaptive.active_region import ActiveRegion, Blocks
from umlite.sweep.adaptive.first_windows import central_windows, covering_windows
from umlite.sweep.adaptive.midline import MidlineSearch, anchors
from umlite.sweep.lesion_logits import LesionLogits
from umlite.sweep.mask_builder import MaskBuilder
from umlite.sweep.probability_file import ProbabilityFile
from umlite.sweep.runner import WindowCounts, WindowRunner
from umlite.sweep.slab import Part, Slab
from umlite.sweep.sweep import add_windows, begin_sweep, finished_parts
from umlite.sweep.window_field import WindowField
from umlite.windows import Size

MARGIN = 1.0
"""A class counts as possible down to this far below the threshold, which is a probability of 0.27.

docs/adaptive.md shows the curve that it was chosen from."""
KEPT_WINDOWS = 1.5
"""How many windows the sums reach back behind the newest windows."""


@torch.inference_mode()
def decide_adaptively(
    engine: Engine,
    voxels: Tensor,
    classes: Sequence[int],
    names: Sequence[str],
    overlap: float,
    progress: Progress = no_progress,
    probabilities: ProbabilityFile | None = None,
    lesion_logits: LesionLogits | None = None,
    *,
    margin: float = MARGIN,
    kept_windows: float = KEPT_WINDOWS,
) -> tuple[BitMask, WindowCounts, int]:
    """Masks of a volume from the windows that matter for the requested classes.

    Args:
        engine, voxels, classes, names, overlap, progress, probabilities, lesion_logits: see `decide_volume`.
        margin: how far below the threshold a logit still makes its voxel active.
        kept_windows: how many windows the sums reach back.

    Returns:
        Masks [X, Y, Z], the counts of windows, and the number of undecided voxels: those inside a window that did not
        run, whose result could differ with all windows.

    Raises:
        RequestError, DeviceError, WeightsError, OutputError: see `decide_volume`.
    """
    begun = begin_sweep(engine, voxels, classes, names, overlap, progress, probabilities, lesion_logits)
    if begun is None:
        return BitMask.zeros(voxels.shape, names), WindowCounts(0, 0, 0), 0
    field, runner, builder = begun
    window = engine.card.window
    seeds = _components(engine, field, runner, [names.index(name) for name in anchors(names)], margin)
    sweep = _Sweep(engine, field, runner, builder, ActiveRegion(field.shape, margin, seeds))
    sweep.forward(covering_windows(field, window) if seeds is None else [], kept_windows)
    sweep.complete()
    return builder.masks(), runner.counts(len(field.starts)), count_touched(sweep.waiting, window, field)


def _components(
    engine: Engine, field: WindowField, runner: WindowRunner, anchored: Sequence[int], margin: float
) -> Blocks | None:
    """Blocks where the anchors' largest components can be, from a column of windows; None if it misses an anchor."""
    if not anchored:
        return None
    search = MidlineSearch(anchored, field.shape, margin, engine.card.spacing_mm)
    column = central_windows(field, engine.card.window)
    search.add(finished_parts(engine, field, column, runner, weighted=True))
    return search.candidates() if search.seen() else None


class _Sweep:
    """A run over one field. `waiting` holds the windows that have not run, in their order."""

    def __init__(
        self, engine: Engine, field: WindowField, runner: WindowRunner, builder: MaskBuilder, region: ActiveRegion
    ) -> None:
        self._engine, self._field, self._runner = engine, field, runner
        self._builder, self._region = builder, region
        self._window, self._side = engine.card.window, engine.card.window[field.axis]
        self.waiting = list(field.starts)

    def forward(self, first: Sequence[Size], kept_windows: float) -> None:
        """Stream once along the field's axis: run the first windows, and those that the growing region asks for."""
        axis, kept = self._field.axis, int(kept_windows * self._side)
        slab = Slab(self._engine, self._field, self._runner.classes, self._side + kept, weighted=True)
        places = sorted({start[axis] for start in self._field.starts})
        seen = 0
        for place in places:
            for part in slab.advance(place - kept):
                self._builder.take(part)
            row = [start for start in first if start[axis] == place]
            self._run(slab, row)
            # Planes that a later row of first windows still changes are examined once that row has run.
            known = min((start[axis] for start in first if start[axis] > place), default=place + self._side)
            known = min(known, place + self._side)
            changed = slice(min(seen, known), known)
            seen = max(seen, known)
            while changed.stop > changed.start:
                self._region.update(slab.part(max(changed.start, slab.first), changed.stop))
                more = [s for s in self._asked_for() if slab.first <= s[axis] <= place]
                self._run(slab, more)
                changed = slice(min((s[axis] for s in more), default=known), known)
        for part in slab.finish():
            self._builder.take(part)

    def complete(self) -> None:
        """Run windows that the region asks for behind the slab, and again the ones around them, whose sums are gone."""
        while missing := self._asked_for():
            low = [min(start[axis] for start in missing) for axis in range(3)]
            high = [max(start[axis] for start in missing) + self._window[axis] for axis in range(3)]
            waiting = set(self.waiting).difference(missing)
            again = [
                start
                for start in self._field.starts
                if start not in waiting
                and all(a < s + w and s < b for a, b, s, w in zip(low, high, start, self._window, strict=True))
            ]
            for part in finished_parts(self._engine, self._field, again, self._runner, weighted=True):
                if (inner := _within(part, low, high)) is not None:
                    self._region.update(inner)
                    self._builder.take(inner)
            self.waiting = [start for start in self.waiting if start in waiting]

    def _run(self, slab: Slab, starts: Sequence[Size]) -> None:
        add_windows(self._runner, slab, starts)
        done = set(starts)
        self.waiting = [start for start in self.waiting if start not in done]

    def _asked_for(self) -> list[Size]:
        return [start for start in self.waiting if self._region.touches(start, self._window)]


def _within(part: Part, low: Sequence[int], high: Sequence[int]) -> Part | None:
    """The portion of a part in the box from `low` to `high`; None if there is none."""
    assert part.total is not None
    box = [
        slice(max(a - o, 0), min(b - o, n)) for a, b, o, n in zip(low, high, part.origin, part.total.shape, strict=True)
    ]
    if any(s.stop <= s.start for s in box):
        return None
    x, y, z = (o + s.start for o, s in zip(part.origin, box, strict=True))
    return Part((x, y, z), part.sums[:, *box], part.total[tuple(box)])


def count_touched(starts: Sequence[Size], window: Size, field: WindowField) -> int:
    """Number of voxels of the field's volume, without padding, that lie in at least one of these windows."""
    axis, side = field.axis, window[field.axis]
    inside = field.inside[axis]
    across = [a for a in range(3) if a != axis]
    edges = {
        min(max(edge, inside.start), inside.stop) for start in starts for edge in (start[axis], start[axis] + side)
    }
    count = 0
    for first, end in itertools.pairwise(sorted(edges)):
        section = np.zeros([field.shape[a] for a in across], np.bool_)
        for start in starts:
            if start[axis] <= first < start[axis] + side:
                u, v = (slice(start[a], start[a] + window[a]) for a in across)
                section[u, v] = True
        u, v = (field.inside[a] for a in across)
        count += (end - first) * int(np.count_nonzero(section[u, v]))
    return count
