"""Blocks that are active, and the region around them."""

from __future__ import annotations

import numpy as np
import torch

from umlite.sweep.adaptive.active_region import BLOCK, ActiveRegion, grown
from umlite.sweep.slab import Part


def test_a_part_marks_its_blocks() -> None:
    region = ActiveRegion((24, 12, 9), margin=2.0)
    sums, total = torch.full((2, 7, 12, 5), -9.0), torch.full((7, 12, 5), 2.0)
    region.update(Part((6, 0, 4), sums, total))
    assert not region.active.any()
    sums[1, 3, 11, 4] = -3.0  # voxel (9, 11, 8), logit -1.5
    region.update(Part((6, 0, 4), sums, total))
    block = np.array([9, 11, 8]) // BLOCK
    assert np.argwhere(region.active).tolist() == [block.tolist()]
    assert np.argwhere(region.blocks).min(0).tolist() == (block - 1).tolist()
    assert region.blocks.sum() == 3 * 2 * 2


def test_where_no_window_ran_nothing_is_active() -> None:
    region = ActiveRegion((8, 8, 8), margin=2.0)
    region.update(Part((0, 0, 0), torch.zeros(1, 8, 8, 8), torch.zeros(8, 8, 8)))
    assert not region.active.any()


def test_what_was_active_stays() -> None:
    region = ActiveRegion((8, 8, 8), margin=0.0)
    total = torch.ones(8, 8, 8)
    region.update(Part((0, 0, 0), torch.ones(1, 8, 8, 8), total))
    region.update(Part((0, 0, 0), -torch.ones(1, 8, 8, 8), total))
    assert region.active.all()


def test_windows_that_touch() -> None:
    region = ActiveRegion((40, 40, 40), margin=0.0)
    region.blocks[2, 0, 0] = True
    assert region.touches((2 * BLOCK + 1, 0, 0), (3, 9, 8))
    assert not region.touches((3 * BLOCK, 0, 0), (BLOCK, 9, 8))


def test_grown() -> None:
    blocks = np.zeros((4, 3, 2), bool)
    blocks[3, 1, 0] = True
    assert np.argwhere(grown(blocks)).tolist() == [[x, y, z] for x in (2, 3) for y in (0, 1, 2) for z in (0, 1)]
