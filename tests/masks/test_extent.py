"""Diameters, widths and distances of voxel sets equal brute force, large sets too."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from support.segmentations import blobs, oblique_affine
from umlite.masks import extent
from umlite.masks.extent import Clusters, hull_of_slices, longest_diameter, width_across


def surface_of(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask & ~ndimage.binary_erosion(mask)).astype(np.int32)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("seed", range(3))
def test_corners_of_hulls_hold_the_longest_line(seed: int, axis: int) -> None:
    rng = np.random.default_rng(seed)
    mask, axes = blobs(rng, (40, 37, 33), 0.2), oblique_affine(rng, sheared=True)[:3, :3]
    corners = hull_of_slices(surface_of(mask), axis)
    assert (np.diff(corners[:, axis]) >= 0).all()
    every = [p for a in range(3) for sign in (1, -1) for p in corners @ axes.T + sign * axes[:, a] / 2]
    far = max(np.linalg.norm(np.array(every) - p, axis=1).max() for p in every)
    whole = surface_of(mask) @ axes.T
    inner = max(np.linalg.norm(whole - p, axis=1).max() for p in corners @ axes.T)
    found = longest_diameter(corners, axes)
    assert found.length_mm == pytest.approx(far)
    assert found.length_mm == pytest.approx(np.linalg.norm(found.vector_mm))
    assert found.length_mm > inner


def test_a_large_ball() -> None:
    x, y, z = np.ogrid[-60:61, -60:61, -60:61]
    ball = x * x + y * y + z * z <= 58.4**2
    corners = hull_of_slices(surface_of(ball), 2)
    assert longest_diameter(corners, np.eye(3)).length_mm == pytest.approx(2 * 58.4, abs=1)


def test_width_of_a_rectangle() -> None:
    places = np.argwhere(np.ones((3, 9), bool)).astype(np.int32)
    axes = np.array([[1.0, 0], [0, 2], [0, 0]])
    assert width_across(places, axes, np.array([0.0, 1, 0])) == pytest.approx(3)
    assert width_across(places, axes, np.array([1.0, 0, 0])) == pytest.approx(18)


@pytest.mark.parametrize("pairs", [1, 100, 1 << 20])
@pytest.mark.parametrize("seed", range(5))
def test_distance_of_clusters(seed: int, pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extent, "_MOST_PAIRS", pairs)
    rng = np.random.default_rng(seed)
    axes = oblique_affine(rng, sheared=seed % 2 == 1)[:3, :3]
    one = np.unique(rng.integers(0, 60, (400, 3)), axis=0).astype(np.int32)
    other = np.unique(rng.integers(50, 130, (900, 3)), axis=0).astype(np.int32)
    expected = cKDTree(other @ axes.T).query(one @ axes.T)[0].min()
    assert Clusters.of(one, axes).distance(Clusters.of(other, axes)) == pytest.approx(expected)
