"""Signed distances (mm, negative inside) of simple bodies, and how to join them smoothly. Pure functions of points."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from umlite.phantom.noise import Array, Vector

Points = tuple[Array, Array, Array]
"""x, y and z in mm, three arrays of one shape."""


def smooth_min(a: Array, b: Array, blend_mm: float) -> Array:
    """Union of two bodies with a fillet of about `blend_mm`."""
    h = np.maximum(blend_mm - np.abs(a - b), 0)
    return np.minimum(a, b) - h * h * np.float32(0.25 / blend_mm)


def smooth_max(a: Array, b: Array, blend_mm: float) -> Array:
    """Intersection of two bodies with a rounded edge of about `blend_mm`."""
    return -smooth_min(-a, -b, blend_mm)


def ellipsoid(p: Points, centre: Vector, radii: Vector) -> Array:
    """Distance to an axis-aligned ellipsoid, exact to first order at its surface."""
    u, v, w = (np.float32(1 / r) * (c - np.float32(m)) for c, m, r in zip(p, centre, radii, strict=True))
    length = np.sqrt(u * u + v * v + w * w)
    u, v, w = (c * np.float32(1 / r) for c, r in zip((u, v, w), radii, strict=True))
    slope = np.sqrt(u * u + v * v + w * w)
    return length * (length - 1) / np.maximum(slope, np.float32(1e-6))


def squircle(x: Array, y: Array, half_x: ArrayLike, half_y: ArrayLike, square: float) -> Array:
    """Radial distance to a rounded rectangle about 0: `square` 0 is an ellipse, towards 1 a rectangle."""
    u2, v2 = np.square(x / half_x), np.square(y / half_y)
    total = u2 + v2
    rho2 = 0.5 * (total + np.sqrt(np.maximum(total * total - np.float32(4 * square * square) * u2 * v2, 0)))
    return np.sqrt(x * x + y * y) * (1 - 1 / np.sqrt(np.maximum(rho2, np.float32(1e-4))))


def capsule(p: Points, a: Vector, b: Vector) -> tuple[Array, Array]:
    """Distance to a line segment, and the place of the nearest point along it, 0 at `a` to 1 at `b`."""
    ab = np.subtract(b, a, dtype=np.float64)
    scale = 1 / max(float(ab @ ab), 1e-9)
    x, y, z = (c - np.float32(m) for c, m in zip(p, a, strict=True))
    along = x * np.float32(ab[0] * scale)
    along += y * np.float32(ab[1] * scale)
    along += z * np.float32(ab[2] * scale)
    np.clip(along, 0, 1, out=along)
    x -= along * np.float32(ab[0])
    y -= along * np.float32(ab[1])
    z -= along * np.float32(ab[2])
    return np.sqrt(x * x + y * y + z * z), along


def triangle(p: Points, corners: ArrayLike) -> Array:
    """Unsigned distance to a triangle (corners [3, 3]). Minus half a thickness, it is a plate with round edges."""
    a, b, c = np.asarray(corners, np.float64)
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal)
    over = np.ones(p[0].shape, bool)
    edges: Array | None = None
    for start, end in ((a, b), (b, c), (c, a)):
        inward = np.cross(normal, end - start)
        over &= _dot(p, start, inward) > 0
        edge = capsule(p, start, end)[0]
        edges = edge if edges is None else np.minimum(edges, edge)
    assert edges is not None
    return np.where(over, np.abs(_dot(p, a, normal)), edges)


def rotate(p: Points, centre: Vector, matrix: NDArray[np.float64]) -> Points:
    """Coordinates in a rotated frame: matrix [3, 3] applied to p - centre."""
    x, y, z = (c - np.float32(m) for c, m in zip(p, centre, strict=True))
    m = matrix.astype(np.float32)
    return (
        m[0, 0] * x + m[0, 1] * y + m[0, 2] * z,
        m[1, 0] * x + m[1, 1] * y + m[1, 2] * z,
        m[2, 0] * x + m[2, 1] * y + m[2, 2] * z,
    )


def rotation(degrees: Vector) -> NDArray[np.float64]:
    """Rotation matrix [3, 3] about x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def spline(knots: ArrayLike, step_mm: float) -> NDArray[np.float64]:
    """Catmull-Rom curve through knots [K, 3 or more], resampled to equal steps of about `step_mm`.

    Columns beyond x, y, z (a radius) are interpolated along with them.
    """
    k = np.asarray(knots, np.float64)
    k = np.concatenate([2 * k[:1] - k[1:2], k, 2 * k[-1:] - k[-2:-1]])
    t = np.linspace(0, 1, 12, endpoint=False)[:, None, None]
    p0, p1, p2, p3 = k[None, :-3], k[None, 1:-2], k[None, 2:-1], k[None, 3:]
    dense = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    curve = np.concatenate([dense.transpose(1, 0, 2).reshape(-1, k.shape[1]), k[-2:-1]])
    arc = arc_length(curve)
    stops = np.linspace(0, arc[-1], max(2, 1 + round(arc[-1] / step_mm)))
    return np.stack([np.interp(stops, arc, column) for column in curve.T], axis=1)


def arc_length(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Length from the start to every point of a curve [K, 3 or more], mm."""
    steps = np.linalg.norm(np.diff(curve[:, :3], axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def profile(knots: ArrayLike, at: Array) -> Array:
    """A smooth function of one coordinate given by knots [K, 2] (position, value), looked up to the nearest mm."""
    k = np.asarray(knots, np.float64)
    low, high = k[0, 0] - 100, k[-1, 0] + 100
    table = np.interp(np.arange(low, high + 1), k[:, 0], k[:, 1])
    kernel = np.hanning(31) / np.hanning(31).sum()
    table = np.convolve(np.pad(table, 15, mode="edge"), kernel, mode="valid").astype(np.float32)
    place = np.clip(at - np.float32(low - 0.5), 0, len(table) - 1).astype(np.int32)
    return table[place]


def _dot(p: Points, origin: NDArray[np.float64], vector: NDArray[np.float64]) -> Array:
    total = (p[0] - np.float32(origin[0])) * np.float32(vector[0])
    total += (p[1] - np.float32(origin[1])) * np.float32(vector[1])
    total += (p[2] - np.float32(origin[2])) * np.float32(vector[2])
    return total
