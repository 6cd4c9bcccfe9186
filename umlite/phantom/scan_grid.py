"""The voxel grid of a phantom and the body coordinates of its voxels, and distances drawn on part of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from umlite.phantom.noise import Array, Vector, lattice_noise, stream
from umlite.phantom.shapes import Points, arc_length, capsule, rotation, smooth_min, triangle
from umlite.phantom.spec import PhantomSpec

Box = tuple[slice, slice, slice]
FAR_MM = np.float32(12)
"""What a distance reads where nothing was drawn near."""

_WARPS_MM = ((60.0, 5.0), (22.0, 1.3))
"""Lattice step and amplitude of the random deformation that every phantom gets."""
_WARP_SLACK_MM = 14.0
_HALF_WIDTH_MM, _ARMS_MM, _MAX_HALF_WIDTH_MM = 168.0, 70.0, 250.0
_FRONT_MM, _BACK_MM, _TABLE_MM = 122.0, 112.0, 45.0


class ScanGrid:
    """The voxels of a scan and their places in the body.

    `affine` is float64 [4, 4], RAS. `x`, `y` and `z`, float32 [X, Y, Z], are body coordinates in mm to the patient's
    right, front and head, 0 at the disc between L1 and L2, with pose, size and a random deformation undone. `axes_mm`
    are scanner coordinates along each axis from the body's origin.
    """

    def __init__(self, spec: PhantomSpec, spacing_mm: Vector) -> None:
        low, high = _extent_mm(spec)
        spacing = np.asarray(spacing_mm, np.float64)
        self.spacing_mm = tuple(float(s) for s in spacing)
        self.shape = tuple(int(n) for n in np.maximum(1, np.round((high - low) / spacing)))
        self.affine = np.diag([*spacing, 1.0])
        self.affine[:3, 3] = low + spacing / 2 + spec.origin_mm
        self.axes_mm = [
            (start + step * (np.arange(n) + 0.5)).astype(np.float32)
            for start, step, n in zip(low, spacing, self.shape, strict=True)
        ]
        self._from_body = rotation(spec.rotation_deg) @ np.diag(spec.scale)
        to_body = np.linalg.inv(self._from_body).astype(np.float32)
        ax, ay, az = np.ix_(*self.axes_mm)
        coordinates = [row[0] * ax + row[1] * ay + row[2] * az for row in to_body]
        for coordinate, name in zip(coordinates, "xyz", strict=True):
            for step, amplitude in _WARPS_MM:
                rng = stream(spec.seed, f"warp {name} {step}")
                coordinate += np.float32(amplitude) * lattice_noise(rng, self.axes_mm, step)
        self.x, self.y, self.z = coordinates
        self.x += np.float32(spec.scoliosis_mm) * np.sin(self.z * np.float32(np.pi / 200))

    def box(self, low_mm: Vector, high_mm: Vector) -> Box:
        """The smallest box of voxels that surely holds a box of body coordinates; it may be empty."""
        centre = self._from_body @ (np.add(low_mm, high_mm) / 2)
        half = np.abs(self._from_body) @ (np.subtract(high_mm, low_mm) / 2) + _WARP_SLACK_MM
        return tuple(  # type: ignore[return-value]
            slice(int(np.searchsorted(axis, c - h)), int(np.searchsorted(axis, c + h, side="right")))
            for axis, c, h in zip(self.axes_mm, centre, half, strict=True)
        )

    def to_scanner(self, body_mm: Vector) -> NDArray[np.float64]:
        """Scanner coordinates of a point of the body, without the random deformation."""
        return self._from_body @ np.asarray(body_mm, np.float64)

    def at(self, box: Box) -> Points:
        return self.x[box], self.y[box], self.z[box]

    def noise(self, rng: np.random.Generator, box: Box, step_mm: float) -> Array:
        return lattice_noise(rng, [axis[part] for axis, part in zip(self.axes_mm, box, strict=True)], step_mm)


class Field:
    """A signed distance (mm, negative inside) on a box of the grid, FAR_MM where nothing was drawn.

    For tubes, `arc_mm` is the length from the start of the tube to the nearest point of its axis.
    """

    def __init__(self, grid: ScanGrid, box: Box) -> None:
        self.grid = grid
        self.box = box
        self.distance: Array = np.full(tuple(s.stop - s.start for s in box), FAR_MM, np.float32)
        self.arc_mm = np.zeros(self.distance.shape, np.float32)

    @property
    def points(self) -> Points:
        return self.grid.at(self.box)

    @property
    def size(self) -> int:
        return self.distance.size

    def add_plate(self, corners: NDArray[np.float64], thickness_mm: float, blend_mm: float) -> None:
        """Join a triangular plate with round edges."""
        reach = thickness_mm / 2 + 4 + blend_mm
        part, points = self._part(corners.min(axis=0) - reach, corners.max(axis=0) + reach)
        if points[0].size:
            plate = triangle(points, corners) - np.float32(thickness_mm / 2)
            self.distance[part] = smooth_min(self.distance[part], plate, blend_mm)

    def add_tube(self, curve: NDArray[np.float64], blend_mm: float = 0.0) -> None:
        """Join a tube along curve [K, 4] (x, y, z, radius), each segment only near itself."""
        arcs = arc_length(curve)
        for (*a, ra), (*b, rb), start, end in zip(curve[:-1], curve[1:], arcs[:-1], arcs[1:], strict=True):
            reach = max(ra, rb) + 5 + blend_mm
            part, points = self._part(np.minimum(a, b) - reach, np.maximum(a, b) + reach)
            if not points[0].size:
                continue
            distance, along = capsule(points, a, b)
            distance -= np.float32(ra) + along * np.float32(rb - ra)
            old = self.distance[part]
            nearer = distance < old
            np.copyto(self.arc_mm[part], np.float32(start) + along * np.float32(end - start), where=nearer)
            if blend_mm:
                old[...] = smooth_min(old, distance, blend_mm)
            else:
                np.minimum(old, distance, out=old)

    def _part(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> tuple[Box, Points]:
        """The part of this field's box that holds a box of body coordinates, and the points there."""
        inner = self.grid.box(low, high)
        part = tuple(
            slice(max(i.start, o.start) - o.start, max(min(i.stop, o.stop), max(i.start, o.start)) - o.start)
            for i, o in zip(inner, self.box, strict=True)
        )
        x, y, z = self.points
        return part, (x[part], y[part], z[part])  # type: ignore[return-value]


def tube(grid: ScanGrid, curves: Sequence[NDArray[np.float64]], blend_mm: float = 0.0) -> Field:
    """The field of one or more tubes, on the smallest box that holds them."""
    every = np.concatenate(curves)
    reach = every[:, 3:4] + 6 + blend_mm
    field = Field(grid, grid.box((every[:, :3] - reach).min(axis=0), (every[:, :3] + reach).max(axis=0)))
    if field.size:
        for curve in curves:
            field.add_tube(curve, blend_mm)
    return field


def _extent_mm(spec: PhantomSpec) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper corner of the scan in scanner coordinates from the body's origin."""
    rng = stream(spec.seed, "extent")
    sx, sy, sz = spec.scale
    fat = spec.subcutaneous_mm
    half = _HALF_WIDTH_MM * sx * (1 + 0.08 * spec.visceral_fat) + 1.2 * fat + rng.uniform(2, 25)
    half = min(half + _ARMS_MM * spec.arms_down, _MAX_HALF_WIDTH_MM)
    front = _FRONT_MM * sy * (1 + 0.3 * spec.visceral_fat) + 1.2 * fat + rng.uniform(5, 25)
    back = _BACK_MM * sy + 1.1 * fat + rng.uniform(0, _TABLE_MM)
    low, high = spec.z_range_mm
    return np.array([-half, -back, low * sz]), np.array([half, front, high * sz])
