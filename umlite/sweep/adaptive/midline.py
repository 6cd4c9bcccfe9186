"""A search for organs in the middle of the body with a single column of windows.

Post-processing keeps only the largest component of most organs, and only the part of some lesions that lies inside
their host organ. Everything else would be removed anyway, so it needs no windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import cc3d
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from umlite.classes import PUBLISHED
from umlite.gpu import transfer
from umlite.masks.postprocessing import RULES
from umlite.sweep.adaptive.active_region import BLOCK, Blocks
from umlite.sweep.slab import Part
from umlite.windows import Size

Counts = npt.NDArray[np.uint8]
Sizes = npt.NDArray[np.int64]
MIDLINE = frozenset(c.name for c in PUBLISHED if c.midline)
LEAST_SEEN_ML = 10.0
"""Least size of a component for its class to count as seen. The search then assumes that no larger one exists."""


def anchors(names: Sequence[str]) -> tuple[str, ...]:
    """The midline organs to which post-processing confines everything in a run.

    Args:
        names: all classes of the run, hosts included.

    Returns:
        Their names; empty if any class of the run may lie elsewhere or is an organ outside the midline.
    """
    found = []
    for name in names:
        rule = RULES.get(name)
        if rule is not None and rule.kind == "largest" and name in MIDLINE:
            found.append(name)
        elif rule is None or rule.kind != "inside" or not set(rule.needs) <= set(names):
            return ()
    return tuple(found)


class MidlineSearch:
    """Counts voxels per block and class: `present` with a logit above 0, `possible` with one above `-margin`.

    Args:
        classes: positions of the anchors among the sums.
        shape: of the field in voxels.
        margin: how far below the threshold a logit still counts as possible.
        spacing_mm: of the field's voxels.
    """

    def __init__(self, classes: Sequence[int], shape: Size, margin: float, spacing_mm: Sequence[float]) -> None:
        self._places = classes
        self._least = LEAST_SEEN_ML * 1000 / math.prod(spacing_mm)
        blocks = (len(classes), *(math.ceil(side / BLOCK) for side in shape))
        self.present: Counts = np.zeros(blocks, np.uint8)
        self.possible: Counts = np.zeros(blocks, np.uint8)
        self._margin = margin

    def add(self, parts: Iterable[Part]) -> None:
        """Count the voxels of some parts, which must not overlap and must hold their `total`."""
        for part in parts:
            assert part.total is not None
            ran = part.total > 0
            for k, place in enumerate(self._places):
                for counts, least in ((self.present, 0.0), (self.possible, -self._margin)):
                    found = _per_block((part.sums[place] > least * part.total) & ran, part.origin)
                    x, y, z = (slice(o // BLOCK, o // BLOCK + n) for o, n in zip(part.origin, found.shape, strict=True))
                    counts[k, x, y, z] += found

    def seen(self) -> bool:
        """Whether every class has a component of at least `LEAST_SEEN_ML`."""
        return all(_by_component(present, possible)[1].max() >= self._least for present, possible in self._classes())

    def candidates(self) -> Blocks:
        """Blocks of every component that could be the largest of its class.

        These are the components with at least as many possible voxels as any component has present ones.
        """
        blocks: Blocks = np.zeros(self.present.shape[1:], np.bool_)
        for present, possible in self._classes():
            labels, sizes, most = _by_component(present, possible)
            blocks |= (most[labels] >= sizes.max()) & (labels > 0)
        return blocks

    def _classes(self) -> list[tuple[Counts, Counts]]:
        return list(zip(self.present, self.possible, strict=True))


def _by_component(present: Counts, possible: Counts) -> tuple[npt.NDArray[np.integer], Sizes, Sizes]:
    """Labels of connected blocks, and the numbers of present and of possible voxels by label (0: background)."""
    labels = cc3d.connected_components(np.ascontiguousarray(possible > 0), connectivity=26)
    flat, count = labels.ravel(), int(labels.max()) + 1
    sizes = [np.bincount(flat, values.ravel(), count).astype(np.int64) for values in (present, possible)]
    return labels, sizes[0], sizes[1]


def _per_block(mask: Tensor, origin: Size) -> Counts:
    """Number of voxels of a part that are set in each block."""
    pads = [(o % BLOCK, -(o + n) % BLOCK) for o, n in zip(origin, mask.shape, strict=True)]
    padded = F.pad(mask.to(torch.float32), [p for pair in reversed(pads) for p in pair])
    counts = F.avg_pool3d(padded[None], BLOCK)[0].mul_(BLOCK**3).round_().to(torch.uint8)
    return transfer.to_host(counts).numpy()
