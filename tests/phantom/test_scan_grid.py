"""Body coordinates, boxes and tubes on the grid."""

import dataclasses
import itertools

import numpy as np
import pytest

from umlite.phantom import draw_spec
from umlite.phantom.scan_grid import FAR_MM, Field, ScanGrid, tube

SPEC = dataclasses.replace(draw_spec(5), z_range_mm=(-100.0, 60.0))
GRID = ScanGrid(SPEC, (5.0, 4.0, 6.0))
CURVE = np.array([[-60.0, 10, -80, 6], [-20, 40, -40, 12], [50, 30, 0, 9]])


def brute_tube(curve: np.ndarray) -> np.ndarray:
    best = np.full(GRID.shape, np.inf)
    for start, end in itertools.pairwise(curve):
        for share in np.linspace(0, 1, 60):
            x, y, z, radius = start + share * (end - start)
            away = np.sqrt((GRID.x - x) ** 2 + (GRID.y - y) ** 2 + (GRID.z - z) ** 2) - radius
            best = np.minimum(best, away)
    return best


@pytest.mark.parametrize(("low", "high"), [((-50, -30, -60), (10, 40, 20)), ((90, 60, -99), (100, 70, 50))])
def test_a_box_holds_every_voxel_asked_for(low, high):
    inside = np.ones(GRID.shape, bool)
    for c, a, b in zip((GRID.x, GRID.y, GRID.z), low, high, strict=True):
        inside &= (c >= a) & (c <= b)
    boxed = np.zeros(GRID.shape, bool)
    boxed[GRID.box(low, high)] = True
    assert not (inside & ~boxed).any()


def test_a_box_out_of_view_is_empty():
    field = Field(GRID, GRID.box((-50, -50, 200), (50, 50, 300)))
    assert field.size == 0
    assert tube(GRID, [np.add(CURVE, (0, 0, 400, 0))]).size == 0


def test_a_tube_agrees_with_balls_along_it():
    field = tube(GRID, [CURVE])
    expected = brute_tube(CURVE)[field.box]
    near = expected < 3
    assert np.abs(field.distance - expected)[near].max() < 1.0
    assert (field.distance <= FAR_MM).all()
    assert (field.distance[expected > 8] > 3).all()


def test_arc_length_grows_along_a_tube():
    field = tube(GRID, [CURVE])
    inside = field.distance < 0
    assert np.corrcoef(field.arc_mm[inside], field.points[0][inside])[0, 1] > 0.9


def test_the_grid_fills_the_same_space_at_any_spacing():
    ends = []
    for spacing in ((3, 3, 3), (6, 6, 6), (7, 5, 4)):
        grid = ScanGrid(SPEC, spacing)
        first = grid.affine[:3, 3] - np.divide(spacing, 2)
        ends.append([*first, *(first + np.multiply(grid.shape, spacing))])
    assert np.ptp(ends, axis=0)[:3].max() < 1e-9
    assert np.ptp(ends, axis=0)[3:].max() < 7


def test_body_coordinates_grow_with_the_axes():
    for axis, c in enumerate((GRID.x, GRID.y, GRID.z)):
        assert c.dtype == np.float32
        assert (np.diff(c, axis=axis) > 0).mean() > 0.999
