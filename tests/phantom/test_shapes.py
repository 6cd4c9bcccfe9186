"""Distances against closed forms and against scipy's distance transform."""

import numpy as np
from scipy.ndimage import distance_transform_edt

from umlite.phantom.shapes import (
    arc_length,
    capsule,
    ellipsoid,
    profile,
    rotate,
    rotation,
    smooth_min,
    spline,
    triangle,
)


def cloud(count=4001, reach=30.0):
    points = np.random.default_rng(0).uniform(-reach, reach, (3, count)).astype(np.float32)
    return points[0], points[1], points[2]


def grid(n=41):
    axis = np.arange(n, dtype=np.float32) - n // 2
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    return x, y, z


def test_a_ball_s_distance_is_exact():
    p = cloud()
    exact = np.sqrt((p[0] - 3) ** 2 + (p[1] + 2) ** 2 + p[2] ** 2) - 9
    np.testing.assert_allclose(ellipsoid(p, (3, -2, 0), (9, 9, 9)), exact, atol=2e-4)


def test_an_ellipsoid_s_distance_is_right_near_its_surface():
    distance = ellipsoid(grid(), (0, 0, 0), (16, 11, 8))
    outside = distance_transform_edt(distance > 0)
    near = (distance > 1) & (distance < 3)
    assert np.abs(distance - (outside - 0.5))[near].max() < 1.2


def test_a_capsule_s_distance_and_place():
    p = cloud()
    distance, along = capsule(p, (-8, 0, 0), (12, 0, 0))
    nearest = np.clip(p[0], -8, 12)
    np.testing.assert_allclose(distance, np.sqrt((p[0] - nearest) ** 2 + p[1] ** 2 + p[2] ** 2), atol=2e-4)
    np.testing.assert_allclose(along, (nearest + 8) / 20, atol=1e-5)


def test_a_triangle_s_distance_is_the_least_over_its_points():
    corners = np.array([[-9.0, -7, 2], [10, -4, -3], [1, 11, 5]])
    u, v = np.meshgrid(np.linspace(0, 1, 90), np.linspace(0, 1, 90))
    u, v = u[u + v <= 1], v[u + v <= 1]
    inside = corners[0] + u[:, None] * (corners[1] - corners[0]) + v[:, None] * (corners[2] - corners[0])
    p = cloud(257)
    brute = np.min(np.linalg.norm(np.stack(p, 1)[:, None] - inside[None], axis=2), axis=1)
    np.testing.assert_allclose(triangle(p, corners), brute, atol=0.15)


def test_a_smooth_union_is_no_larger_than_the_fillet():
    a, b = np.linspace(-9, 9, 37, dtype=np.float32), np.float32(1.5)
    joined = smooth_min(a, b, 4)
    assert (joined <= np.minimum(a, b)).all()
    assert (np.minimum(a, b) - joined).max() <= 1.0
    np.testing.assert_array_equal(joined[np.abs(a - b) > 4], np.minimum(a, b)[np.abs(a - b) > 4])


def test_rotation_keeps_lengths_and_turns_x_to_y():
    matrix = rotation((12, -31, 77))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.isclose(np.linalg.det(matrix), 1)
    np.testing.assert_allclose(rotation((0, 0, 90)) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    p = cloud(101)
    turned = rotate(p, (0, 0, 0), matrix)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=0), np.linalg.norm(p, axis=0), rtol=1e-4)


def test_a_spline_meets_its_ends_and_has_even_steps():
    knots = np.array([[0.0, 0, 0, 5], [20, 5, 0, 6], [30, 30, 10, 7], [10, 50, 0, 3]])
    curve = spline(knots, 4)
    np.testing.assert_allclose(curve[[0, -1]], knots[[0, -1]], atol=1e-9)
    steps = np.diff(arc_length(curve))
    assert steps.max() / steps.min() < 1.2
    for knot in knots:
        assert np.linalg.norm(curve[:, :3] - knot[:3], axis=1).min() < 2.5


def test_a_profile_is_smooth_and_constant_beyond_its_ends():
    knots = ((-50, 10), (0, 30), (50, 20))
    at = np.arange(-140, 140, dtype=np.float32)
    values = profile(knots, at)
    assert np.abs(np.diff(values)).max() < 0.5
    np.testing.assert_allclose(values[[0, -1]], [10, 20], atol=1e-4)
