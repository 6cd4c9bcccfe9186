"""Dice against MONAI's."""

from __future__ import annotations

import math

import numpy as np
import torch
from monai.metrics import DiceMetric

from umlite.results.metrics import dice, dice_of_counts


def test_dice_is_monais() -> None:
    rng = np.random.default_rng(0)
    for density in (0.01, 0.3, 0.9):
        a, b = rng.random((2, 6, 7, 8)) < density
        expected = DiceMetric()(torch.from_numpy(a)[None, None], torch.from_numpy(b)[None, None])
        assert dice(a, b) == float(expected) or abs(dice(a, b) - float(expected)) < 1e-6


def test_edges() -> None:
    nothing, something = np.zeros((2, 2, 2), bool), np.ones((2, 2, 2), bool)
    assert math.isnan(dice(nothing, nothing))
    assert dice(nothing, something) == 0
    assert dice(something, something) == 1


def test_counts_give_the_dice_of_masks() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 5, 6, 7, 8)) < 0.2
    a[3], b[3:] = False, False
    expected = [dice(one, other) for one, other in zip(a, b, strict=True)]
    counts = (m.reshape(5, -1).sum(1) for m in (a & b, a, b))
    np.testing.assert_array_equal(dice_of_counts(*counts), expected)
    assert math.isnan(expected[3])
    assert expected[4] == 0
