"""Branching vessels."""

import numpy as np

from umlite.phantom.noise import stream
from umlite.phantom.trees import grow_tree

STEM = np.array([[0.0, 0, 0, 5], [10, 0, 0, 4.5], [20, 2, 0, 4]])


def test_branches_start_where_others_end_and_get_thinner():
    curves = grow_tree(stream(0, "tree"), STEM, 3, 0.5)
    assert len(curves) == 1 + 2 + 4 + 8
    tips = np.array([c[-1] for c in curves])
    for curve in curves[1:]:
        gaps = np.linalg.norm(tips[:, :3] - curve[0, :3], axis=1)
        assert gaps.min() < 1e-9
        assert curve[0, 3] < tips[gaps.argmin(), 3]
        assert (np.diff(curve[:, 3]) < 0).all()


def test_growth_ends_at_the_least_radius():
    curves = grow_tree(stream(0, "tree"), STEM, 9, 2.5)
    assert 1 < len(curves) < 64
    assert min(c[0, 3] for c in curves) >= 2.5
