"""Sets of classes: every voxel's own, each once, whatever number of integers holds the masks."""

from __future__ import annotations

import numpy as np
import pytest

from umlite.masks.bitmask import BitMask
from umlite.masks.class_sets import count_sets, number_sets

SHAPE = (4, 5, 6)


@pytest.mark.parametrize("count", [1, 32, 64, 65, 200])
@pytest.mark.parametrize("share", [0.01, 0.5])
def test_sets_are_those_of_the_masks(count: int, share: float) -> None:
    rng = np.random.default_rng(count)
    truth = rng.random((count, *SHAPE)) < share
    truth[:, 0] = truth[:, 1]  # sets that occur again
    masks = BitMask.from_masks({f"class_{k}": mask for k, mask in enumerate(truth)})
    where = rng.random(SHAPE) < 0.7
    own = truth[:, where].T
    held, which = number_sets(masks, where)
    assert np.array_equal(held[which], own)
    assert len(np.unique(held, axis=0)) == len(held)
    again, counts = count_sets(masks, where)
    assert np.array_equal(again, held)
    assert np.array_equal(counts, np.bincount(which, minlength=len(held)))


def test_no_voxels_have_no_sets() -> None:
    for count in (3, 70):
        masks = BitMask.zeros(SHAPE, [f"class_{k}" for k in range(count)])
        held, counts = count_sets(masks, masks.any())
        assert held.shape == (0, count)
        assert len(counts) == 0
