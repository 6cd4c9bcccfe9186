"""Adaptive windows: all windows where the requested classes are or could be, few elsewhere.

The first windows are the fewest of the grid that hold every voxel of the body. A voxel is active where the blended
logit of a class is above `-margin`; whole blocks with an active voxel, and the blocks next to them, are the region.
All windows that touch the region run, and new ones in rounds, until it grows no more. Where a class changes sign
across a seam of the first windows, one side is positive and so active: every window over that seam runs.

In the region all windows have run: its answer is that of all windows, up to the order of float32 additions. Elsewhere
it is the answer of the windows that ran, and absent where none did.

Of most organs post-processing keeps the largest component, and of some lesions what lies inside that. Where all classes
of a run are such, of organs in the midline, one column of windows through the middle is looked at first. If it shows
each organ, active is only what is connected to a component that could be the largest, and no first windows are needed;
those of the column that this asks for run twice. If it does not, the run goes on as any other.

The windows stream as all windows do, through a slab of sums two and a half windows thick: what is active in new planes
makes windows run that begin up to one and a half before. Where a late round reaches back further than that, the
windows there run again, after the sweep, which is rare.
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
from umlite.sweep.adaptive.active_region import Activity, Blocks
from umlite.sweep.adaptive.first_windows import central_windows, covering_windows
from umlite.sweep.adaptive.midline import Look, anchors
from umlite.sweep.answers import Answers
from umlite.sweep.field import Field, lay_out
from umlite.sweep.probability_file import ProbabilityFile
from umlite.sweep.runner import WindowCounts, WindowRunner
from umlite.sweep.slab import Part, Slab
from umlite.sweep.sweep import add_windows, finished_parts
from umlite.windows import Size

MARGIN = 1.0
"""Logits below the threshold at which a class still counts as possible, a probability of 0.27.

The curve that it was chosen from is in docs/adaptive.md."""
KEPT_WINDOWS = 1.5
"""Thickness of the sums that stay in memory behind the newest windows, in windows."""


@torch.inference_mode()
def decide_adaptively(
    engine: Engine,
    voxels: Tensor,
    classes: Sequence[int],
    names: Sequence[str],
    overlap: float,
    progress: Progress = no_progress,
    probabilities: ProbabilityFile | None = None,
    *,
    margin: float = MARGIN,
    kept_windows: float = KEPT_WINDOWS,
) -> tuple[BitMask, WindowCounts, int]:
    """Which classes are present at each voxel, from the windows that matter for them; arguments as `decide_volume`.

    Returns the masks [X, Y, Z], the counts of windows, and the number of voxels whose answer could still differ: those
    that a window touches which did not run. Raises as `decide_volume` does.
    """
    field = lay_out(engine, voxels, overlap) if voxels.numel() else None
    if probabilities is not None:
        probabilities.begin(voxels.shape, field.axis if field else 0)
    if field is None:
        return BitMask.zeros(voxels.shape, names), WindowCounts(0, 0, 0), 0
    runner = WindowRunner(engine, field.voxels, classes, overlap, len(field.starts), progress)
    answers = Answers(engine, field, names, probabilities)
    window = engine.card.window
    seeds = _components(engine, field, runner, [names.index(name) for name in anchors(names)], margin)
    sweep = _Sweep(engine, field, runner, answers, Activity(field.shape, margin, seeds))
    sweep.forward(covering_windows(field, window) if seeds is None else [], kept_windows)
    sweep.complete()
    return answers.masks(), runner.counts(len(field.starts)), count_touched(sweep.waiting, window, field)


def _components(
    engine: Engine, field: Field, runner: WindowRunner, anchored: Sequence[int], margin: float
) -> Blocks | None:
    """Where the anchors' largest components are, as a column of windows shows; None where it does not show all."""
    if not anchored:
        return None
    look = Look(anchored, field.shape, margin, engine.card.spacing_mm)
    column = central_windows(field, engine.card.window)
    look.add(finished_parts(engine, field, column, runner, weighted=True))
    return look.candidates() if look.seen() else None


class _Sweep:
    """A run over one field. waiting: windows that have not run, in their order."""

    def __init__(
        self, engine: Engine, field: Field, runner: WindowRunner, answers: Answers, activity: Activity
    ) -> None:
        self._engine, self._field, self._runner = engine, field, runner
        self._answers, self._activity = answers, activity
        self._window, self._side = engine.card.window, engine.card.window[field.axis]
        self.waiting = list(field.starts)

    def forward(self, first: Sequence[Size], kept_windows: float) -> None:
        """Stream once along the field's axis: the first windows, and the others that the region then asks for."""
        axis, kept = self._field.axis, int(kept_windows * self._side)
        slab = Slab(self._engine, self._field, self._runner.classes, self._side + kept, weighted=True)
        places = sorted({start[axis] for start in self._field.starts})
        seen = 0
        for place in places:
            for part in slab.advance(place - kept):
                self._answers.take(part)
            row = [start for start in first if start[axis] == place]
            self._run(slab, row)
            # Planes that a later row of first windows still changes are looked at when that has run.
            known = min((start[axis] for start in first if start[axis] > place), default=place + self._side)
            known = min(known, place + self._side)
            changed = slice(min(seen, known), known)
            seen = max(seen, known)
            while changed.stop > changed.start:
                self._activity.update(slab.part(max(changed.start, slab.first), changed.stop))
                more = [s for s in self._asked_for() if slab.first <= s[axis] <= place]
                self._run(slab, more)
                changed = slice(min((s[axis] for s in more), default=known), known)
        for part in slab.finish():
            self._answers.take(part)

    def complete(self) -> None:
        """Run what the region asks for behind the slab; the windows around it run again, since their sums are gone."""
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
                    self._activity.update(inner)
                    self._answers.take(inner)
            self.waiting = [start for start in self.waiting if start in waiting]

    def _run(self, slab: Slab, starts: Sequence[Size]) -> None:
        add_windows(self._runner, slab, starts)
        done = set(starts)
        self.waiting = [start for start in self.waiting if start not in done]

    def _asked_for(self) -> list[Size]:
        return [start for start in self.waiting if self._activity.touches(start, self._window)]


def _within(part: Part, low: Sequence[int], high: Sequence[int]) -> Part | None:
    """What of a part lies in the box from `low` to `high`."""
    assert part.total is not None
    box = [
        slice(max(a - o, 0), min(b - o, n)) for a, b, o, n in zip(low, high, part.origin, part.total.shape, strict=True)
    ]
    if any(s.stop <= s.start for s in box):
        return None
    x, y, z = (o + s.start for o, s in zip(part.origin, box, strict=True))
    return Part((x, y, z), part.sums[:, *box], part.total[tuple(box)])


def count_touched(starts: Sequence[Size], window: Size, field: Field) -> int:
    """Voxels of the field's volume, its padding left out, that lie in at least one of these windows."""
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
