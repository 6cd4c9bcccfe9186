"""Components found slab by slab equal those of the whole mask."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from scipy import ndimage

from umlite.masks.bitmask import Box
from umlite.masks.components import Components, Stack, label_components
from umlite.masks.surfels import surfel_codes

EVERYWHERE = np.ones((3, 3, 3), bool)


class Found:
    """What comes of a mask that is given a few planes at a time."""

    def __init__(self, mask: np.ndarray, rng: np.random.Generator) -> None:
        self.components = Components()
        self.provisional = np.zeros(mask.shape, np.int64)
        self.surface: list[tuple[tuple[int, ...], int]] = []
        self.codes = np.zeros(256, np.int64)
        first = 0
        while first < mask.shape[2]:
            part = mask[:, :, first : first + int(rng.integers(1, 5))]
            if part.any():
                inner, box = boxes_of(part, first)
                labels, stacks = self.components.add(part[inner], box)
                self.provisional[box] = labels
                self._take(stacks)
            first += part.shape[2]
        self._take(self.components.finish())

    def _take(self, stacks: Iterable[Stack]) -> None:
        for stack in stacks:
            places, labels = stack.surface_voxels()
            self.surface += zip(map(tuple, places.tolist()), labels.tolist(), strict=True)
            self.codes += np.bincount(surfel_codes(stack.labels[:, :, 1:] > 0).ravel(), minlength=256)


def boxes_of(part: np.ndarray, first: int) -> tuple[Box, Box]:
    x, y, z = (slice(int(places.min()), int(places.max()) + 1) for places in np.nonzero(part))
    return (x, y, z), (x, y, slice(z.start + first, z.stop + first))


@pytest.mark.parametrize("seed", range(40))
def test_slabs_equal_the_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 14, 3)) < rng.uniform(0.02, 0.4)
    if seed % 3 == 0:
        mask[:, :, ::3] = False
    found = Found(mask, rng)
    numbers, count = found.components.numbers()
    expected, expected_count = ndimage.label(mask, EVERYWHERE)
    assert count == expected_count
    final = np.where(mask, numbers[found.provisional] + 1, 0)
    pairs = np.unique(np.stack([final[mask], expected[mask]], 1), axis=0)
    assert len(pairs) == len(np.unique(pairs[:, 0])) == count
    surface = mask & ~ndimage.binary_erosion(mask)
    assert sorted(place for place, _ in found.surface) == sorted(map(tuple, np.argwhere(surface).tolist()))
    assert all(final[place] == numbers[label] + 1 for place, label in found.surface)
    whole = np.bincount(surfel_codes(np.pad(mask, 1)).ravel(), minlength=256)
    np.testing.assert_array_equal(found.codes[1:255], whole[1:255])


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 5, 1), (1, 9, 3), (2, 2, 2)])
def test_single_voxels_in_thin_arrays(shape: tuple[int, int, int]) -> None:
    mask = np.zeros(shape, bool)
    mask[::2, ::2, ::2] = True
    labels, count = label_components(mask)
    assert labels.shape == shape
    assert count == mask.sum() == len(np.unique(labels[mask]))
