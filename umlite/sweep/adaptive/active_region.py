"""The region of a volume where the requested classes are or could be, in blocks of voxels."""

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
"""Side of a block in voxels. The region reaches one block beyond the active blocks."""

Blocks = npt.NDArray[np.bool_]


class ActiveRegion:
    """The blocks that adaptive windows have to cover.

    A block is active if a blended logit of one of its voxels was above `-margin`. The region, `blocks`, is all active
    blocks and their 26 neighbours, so a class may grow by a few voxels as more windows run and still lie inside.

    Args:
        shape: of the field in voxels.
        margin: how far below the threshold a logit still counts.
        seeds: blocks that are active from the start; only blocks connected to them become active. None: any block.
    """

    def __init__(self, shape: Size, margin: float, seeds: Blocks | None = None) -> None:
        self._margin, self._confined = margin, seeds is not None
        empty: Blocks = np.zeros([math.ceil(side / BLOCK) for side in shape], np.bool_)
        self._found = empty
        self.active = empty.copy() if seeds is None else seeds
        self.blocks = grown(self.active)

    def update(self, part: Part) -> None:
        """Add the blocks that a part of the field makes active. The part must hold its `total`."""
        assert part.total is not None
        # Where no window ran, sums and total are both 0, which does not count as active.
        excess = torch.add(part.sums.amax(0), part.total, alpha=self._margin)
        before = [origin % BLOCK for origin in part.origin]
        pads = [(b, -(b + n) % BLOCK) for b, n in zip(before, excess.shape, strict=True)]
        padded = F.pad(excess, [p for pair in reversed(pads) for p in pair], value=-1.0)
        found = transfer.to_host(F.max_pool3d(padded[None], BLOCK)[0] > 0).numpy()
        x, y, z = (slice(o // BLOCK, o // BLOCK + n) for o, n in zip(part.origin, found.shape, strict=True))
        if (found & ~self._found[x, y, z]).any():
            self._found[x, y, z] |= found
            self.active = connected_to(self.active, self._found) if self._confined else self._found
            self.blocks = grown(self.active)

    def touches(self, start: Size, window: Size) -> bool:
        """Whether a window overlaps the region."""
        x, y, z = (slice(s // BLOCK, math.ceil((s + side) / BLOCK)) for s, side in zip(start, window, strict=True))
        return bool(self.blocks[x, y, z].any())


def connected_to(seeds: Blocks, blocks: Blocks) -> Blocks:
    """The seeds, and all blocks that a chain of 26-neighbours connects to one."""
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
