"""Thresholds of growth, and the groups that lesions form."""

from __future__ import annotations

import numpy as np
import pytest

from support.verdicts import MIRRORED
from umlite.comparison.matching import _groups
from umlite.comparison.verdicts import Size, by_size


@pytest.mark.parametrize(
    ("one", "two", "verdict"),
    [
        ((4.0, 20.0), (4.0, 20.0), "stable"),
        ((4.0, 20.0), (6.91, 20.0), "stable"),  # below 1.73
        ((4.0, 20.0), (6.92, 20.0), "growing"),
        ((4.0, 20.0), (4.0, 24.9), "stable"),  # 25 %, but less than 5 mm
        ((4.0, 20.0), (4.0, 25.0), "growing"),
        ((40.0, 50.0), (40.0, 59.0), "stable"),  # 9 mm, but less than 20 %
        ((40.0, 50.0), (40.0, 60.0), "growing"),
        ((0.2, 7.0), (0.5, 9.9), "stable"),  # too small to be measured
        ((0.2, 7.0), (0.5, 10.0), "growing"),
        ((4.0, 20.0), (8.0, 15.0), "growing"),  # the volume decides first
    ],
)
def test_growth(one: tuple[float, float], two: tuple[float, float], verdict: str) -> None:
    assert by_size(Size(*one), Size(*two)) == verdict
    assert by_size(Size(*two), Size(*one)) == MIRRORED[verdict]  # type: ignore[index]


def test_verdicts_mirror_each_other() -> None:
    assert {MIRRORED[MIRRORED[verdict]] for verdict in MIRRORED} == set(MIRRORED)


def test_groups_are_the_connected_parts() -> None:
    links = np.zeros((4, 4), bool)
    links[0, 1] = links[2, 1] = links[3, 0] = True
    found = [(group.ours, group.theirs) for group in _groups(links)]
    assert found == [((0, 2), (1,)), ((1,), ()), ((3,), (0,)), ((), (2,)), ((), (3,))]
