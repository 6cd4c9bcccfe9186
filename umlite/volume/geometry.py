"""Affines and voxel grids: orientation, the resampled grid and the maps between grids. Pure functions, float64."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np

_SAME_GRID_ATOL, _SAME_GRID_RTOL = 1e-3, 1e-5
_FIRST_CORNER_TOL = 1e-8

Size = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of a volume lie.

    shape: voxels an axis.
    affine: float64 [4, 4], voxel index -> RAS mm.
    """

    shape: Size
    affine: np.ndarray

    def corners(self) -> np.ndarray:
        """Indices of the 8 corner voxels' centres, float64 [4, 8], homogeneous; column 0 is the origin."""
        last = np.array(self.shape, dtype=np.float64) - 1
        unit = np.array(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), dtype=np.float64).reshape(3, 8)
        return np.vstack([unit * last[:, None], np.ones(8)])


def spacing_of(affine: np.ndarray) -> np.ndarray:
    """Distance in mm between neighbouring voxels along each axis, float64 [3]."""
    return np.sqrt((affine[:3, :3] ** 2).sum(axis=0))


def index_map(target: Grid, source: Grid) -> np.ndarray:
    """Float64 [4, 4] that takes an index of `target` to the (fractional) index of `source` at the same place."""
    return np.linalg.solve(source.affine, target.affine)


def ras_axes(affine: np.ndarray) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """The stored axes that run closest to right, anterior and superior, and which of them run backwards.

    Source: nibabel.orientations.io_orientation, as MONAI's Orientation("RAS") uses it.
    """
    orientation = nib.orientations.io_orientation(affine)
    first, second, third = (int(a) for a in np.argsort(orientation[:, 0]))
    flips = tuple(bool(orientation[a, 1] < 0) for a in (first, second, third))
    return (first, second, third), (flips[0], flips[1], flips[2])


def permute_axes(grid: Grid, axes: tuple[int, int, int]) -> Grid:
    """The same voxels with axis `axes[i]` in place i."""
    affine = grid.affine.copy()
    affine[:, :3] = grid.affine[:, list(axes)]
    return Grid((grid.shape[axes[0]], grid.shape[axes[1]], grid.shape[axes[2]]), affine)


def flip_axes(grid: Grid, flips: tuple[bool, bool, bool]) -> Grid:
    """The same voxels counted from the other end of every axis that `flips` names."""
    mirror = np.eye(4)
    for axis in np.flatnonzero(flips):
        mirror[axis, axis], mirror[axis, 3] = -1, grid.shape[axis] - 1
    return Grid(grid.shape, grid.affine @ mirror)


def crop_grid(grid: Grid, start: tuple[int, int, int], stop: tuple[int, int, int]) -> Grid:
    """The part of a grid between two indices, `stop` excluded."""
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.array(start, dtype=np.float64)
    return Grid((stop[0] - start[0], stop[1] - start[1], stop[2] - start[2]), affine)


def resampled_grid(grid: Grid, spacing_mm: tuple[float, float, float]) -> Grid:
    """The grid that MONAI's `Spacing(spacing_mm, mode="bilinear", align_corners=False)` resamples `grid` to.

    Directions stay, shear goes. An axis has round(extent + 1) voxels, half to even, where the extent runs between the
    first and the last voxel centre. The first voxels' centres coincide where the new axes let one corner of the volume
    be the first in every axis; otherwise (shear, or an affine that float32 rounding has bent) index shape / 2 of both
    grids coincides. A grid within 1e-3 voxels a step of the result is returned as it is.

    Source: compute_shape_offset, zoom_affine and spatial_resample of MONAI 1.6, model.md section 1.
    """
    axes_in = grid.affine[:3, :3]
    upper = np.linalg.cholesky(axes_in.T @ axes_in).T
    axes_out = axes_in @ np.linalg.inv(upper) @ np.diag(np.asarray(spacing_mm, dtype=np.float64))
    affine = np.eye(4)
    affine[:3, :3] = axes_out

    corners = (np.linalg.solve(affine, grid.affine) @ grid.corners())[:3]
    count = np.round(np.ptp(corners, axis=1) + 1.0)
    lowest = np.abs(corners.min(axis=1, keepdims=True) - corners).max(axis=0) <= _FIRST_CORNER_TOL
    if lowest.any():
        affine[:3, 3] = (grid.affine @ grid.corners()[:, int(np.argmax(lowest))])[:3]
    else:
        middle = np.array(grid.shape, dtype=np.float64) / 2
        affine[:3, 3] = axes_in @ middle + grid.affine[:3, 3] - axes_out @ (count / 2)

    result = Grid((int(count[0]), int(count[1]), int(count[2])), affine)
    return grid if _same_grid(result, grid) else result


def _same_grid(a: Grid, b: Grid) -> bool:
    return a.shape == b.shape and (
        np.allclose(b.affine, a.affine, rtol=_SAME_GRID_RTOL, atol=_SAME_GRID_ATOL)
        or np.allclose(index_map(a, b), np.eye(4), rtol=_SAME_GRID_RTOL, atol=_SAME_GRID_ATOL)
    )
