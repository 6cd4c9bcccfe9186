"""Where classes are or could be, in blocks of voxels."""

from __future__ import annotations

import math

import cc3d
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from umlite.gpu import transfer
from umlite.sweep.slab import Part
from umlite.windows import Size

BLOCK = 2
"""Side of a block in voxels. A region reaches one block beyond what is active."""

Blocks = npt.NDArray[np.bool_]


class Activity:
    """Active blocks of a field of `shape`: those with a voxel where a blended logit was above `-margin`.

    The region is the active blocks and their 26 neighbours: a class that grows by a few voxels when more windows run
    is still inside.

    seeds: active from the start; then what no chain of active blocks joins to them is not active.
    """

    def __init__(self, shape: Size, margin: float, seeds: Blocks | None = None) -> None:
        self._margin, self._confined = margin, seeds is not None
        empty: Blocks = np.zeros([math.ceil(side / BLOCK) for side in shape], np.bool_)
        self._found = empty
        self.active = empty.copy() if seeds is None else seeds
        self.region = grown(self.active)

    def update(self, part: Part) -> None:
        """Add what a part of the field, with its sum of importances, shows. What was active stays so."""
        assert part.total is not None
        # Sums and total are both 0 where no window ran: that is not above anything.
        excess = torch.add(part.sums.amax(0), part.total, alpha=self._margin)
        before = [origin % BLOCK for origin in part.origin]
        pads = [(b, -(b + n) % BLOCK) for b, n in zip(before, excess.shape, strict=True)]
        padded = F.pad(excess, [p for pair in reversed(pads) for p in pair], value=-1.0)
        found = transfer.to_host(F.max_pool3d(padded[None], BLOCK)[0] > 0).numpy()
        x, y, z = (slice(o // BLOCK, o // BLOCK + n) for o, n in zip(part.origin, found.shape, strict=True))
        if (found & ~self._found[x, y, z]).any():
            self._found[x, y, z] |= found
            self.active = connected_to(self.active, self._found) if self._confined else self._found
            self.region = grown(self.active)

    def touches(self, start: Size, window: Size) -> bool:
        """Whether a window holds a voxel of the region."""
        x, y, z = (slice(s // BLOCK, math.ceil((s + side) / BLOCK)) for s, side in zip(start, window, strict=True))
        return bool(self.region[x, y, z].any())


def connected_to(seeds: Blocks, blocks: Blocks) -> Blocks:
    """The blocks that a chain of 26-neighbours joins to a seed, with the seeds."""
    labels = cc3d.connected_components(np.ascontiguousarray(blocks | seeds), connectivity=26)
    wanted = np.zeros(int(labels.max()) + 1, np.bool_)
    wanted[np.unique(labels[seeds])] = True
    joined: Blocks = wanted[labels]
    return joined


def grown(blocks: Blocks) -> Blocks:
    """The blocks and their 26 neighbours."""
    for axis in range(3):
        source = np.moveaxis(blocks, axis, 0)
        blocks = blocks.copy()
        target = np.moveaxis(blocks, axis, 0)
        target[1:] |= source[:-1]
        target[:-1] |= source[1:]
    return blocks
