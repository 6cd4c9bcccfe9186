"""A look at few windows for classes of one component each: where in the scan that component is.

Post-processing keeps the largest component of most organs, and of some lesions what lies inside their host organ's.
What could only ever be a smaller component, or lies elsewhere, needs no windows.
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
"""Size of a component from which on its class counts as seen. A larger one is not looked for then."""


def anchors(names: Sequence[str]) -> tuple[str, ...]:
    """Of the classes of a run, those whose largest component everything lies in, after post-processing.

    Empty where a class is among them that is free to lie anywhere, or an organ beside the midline.
    """
    found = []
    for name in names:
        rule = RULES.get(name)
        if rule is not None and rule.kind == "largest" and name in MIDLINE:
            found.append(name)
        elif rule is None or rule.kind != "inside" or not set(rule.needs) <= set(names):
            return ()
    return tuple(found)


class Look:
    """Voxels per block and class of a field: `present`, logit above 0, and `possible`, above `-margin`.

    classes: places of the anchors among the sums. spacing_mm: of the field.
    """

    def __init__(self, classes: Sequence[int], shape: Size, margin: float, spacing_mm: Sequence[float]) -> None:
        self._places = classes
        self._least = LEAST_SEEN_ML * 1000 / math.prod(spacing_mm)
        blocks = (len(classes), *(math.ceil(side / BLOCK) for side in shape))
        self.present: Counts = np.zeros(blocks, np.uint8)
        self.possible: Counts = np.zeros(blocks, np.uint8)
        self._margin = margin

    def add(self, parts: Iterable[Part]) -> None:
        """Count parts of the field, with the sum of importances, that share no voxel."""
        for part in parts:
            assert part.total is not None
            ran = part.total > 0
            for k, place in enumerate(self._places):
                for counts, least in ((self.present, 0.0), (self.possible, -self._margin)):
                    found = _per_block((part.sums[place] > least * part.total) & ran, part.origin)
                    x, y, z = (slice(o // BLOCK, o // BLOCK + n) for o, n in zip(part.origin, found.shape, strict=True))
                    counts[k, x, y, z] += found

    def seen(self) -> bool:
        """Whether each class has a component of at least `LEAST_SEEN_ML`."""
        return all(_by_component(present, possible)[1].max() >= self._least for present, possible in self._classes())

    def candidates(self) -> Blocks:
        """Blocks of components that could be their class's largest: possible in as many voxels as any is present."""
        blocks: Blocks = np.zeros(self.present.shape[1:], np.bool_)
        for present, possible in self._classes():
            labels, sizes, most = _by_component(present, possible)
            blocks |= (most[labels] >= sizes.max()) & (labels > 0)
        return blocks

    def _classes(self) -> list[tuple[Counts, Counts]]:
        return list(zip(self.present, self.possible, strict=True))


def _by_component(present: Counts, possible: Counts) -> tuple[npt.NDArray[np.integer], Sizes, Sizes]:
    """Labels of components of blocks; and by label the voxels present, and possible, with 0 for the background."""
    labels = cc3d.connected_components(np.ascontiguousarray(possible > 0), connectivity=26)
    flat, count = labels.ravel(), int(labels.max()) + 1
    sizes = [np.bincount(flat, values.ravel(), count).astype(np.int64) for values in (present, possible)]
    return labels, sizes[0], sizes[1]


def _per_block(mask: Tensor, origin: Size) -> Counts:
    """How many voxels of a part are set in each block."""
    pads = [(o % BLOCK, -(o + n) % BLOCK) for o, n in zip(origin, mask.shape, strict=True)]
    padded = F.pad(mask.to(torch.float32), [p for pair in reversed(pads) for p in pair])
    counts = F.avg_pool3d(padded[None], BLOCK)[0].mul_(BLOCK**3).round_().to(torch.uint8)
    return transfer.to_host(counts).numpy()
