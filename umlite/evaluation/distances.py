"""Distances from voxels to the nearest voxel of a set, exact, computed no farther than needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_FIRST_REACH_STEPS = 8
_GROWTH = 4


def nearest_mm(queries: Mask, sources: Mask, spacing_mm: Sequence[float]) -> Floats:
    """Distance from each voxel of one set to the nearest voxel of another.

    Equals scipy's `distance_transform_edt(~sources, sampling=spacing_mm)[queries]`.

    Args:
        queries, sources: bool [X, Y, Z].
        spacing_mm: distances of neighbouring voxel centres along the axes, which are at right angles.

    Returns:
        float64, in the order of `np.argwhere(queries)`; infinite where `sources` is empty.
    """
    x, y, z = np.nonzero(queries)
    squares = np.full(len(x), np.inf)
    planes = np.flatnonzero(sources.any(axis=(0, 1)))
    if not len(planes):
        return squares
    pending = np.argsort(z, kind="stable")
    reach = _FIRST_REACH_STEPS * max(spacing_mm)
    farthest = float(np.linalg.norm(np.multiply(sources.shape, spacing_mm)))
    while len(pending):
        places = (x[pending], y[pending], z[pending])
        found = _squares_within(reach, places, sources, planes, spacing_mm)
        done = (found <= reach * reach) | (reach > farthest)
        squares[pending[done]] = found[done]
        pending = pending[~done]
        reach *= _GROWTH
    return np.sqrt(squares)


def _squares_within(
    reach_mm: float,
    places: tuple[npt.NDArray[np.intp], ...],
    sources: Mask,
    planes: npt.NDArray[np.intp],
    spacing_mm: Sequence[float],
) -> Floats:
    """Squared distances of places to the nearest source: right up to the reach, too large or infinite beyond it.

    Args:
        places: x, y, z, sorted by z.
        planes: z of those planes that hold sources.
    """
    steps = [int(reach_mm / spacing) for spacing in spacing_mm]
    low = [max(int(along.min()) - step, 0) for along, step in zip(places[:2], steps, strict=False)]
    high = [int(along.max()) + step + 1 for along, step in zip(places[:2], steps, strict=False)]
    x, y, z = places[0] - low[0], places[1] - low[1], places[2]
    squares = np.full(len(x), np.inf)
    for plane in planes.tolist():
        first, end = np.searchsorted(z, [plane - steps[2], plane + steps[2] + 1])
        inside = sources[low[0] : high[0], low[1] : high[1], plane]
        if first == end or not inside.any():
            continue
        part = slice(first, end)
        in_plane = _plane_squares(inside, spacing_mm, steps[1])[x[part], y[part]]
        in_plane += ((z[part] - plane) * spacing_mm[2]) ** 2
        np.minimum(squares[part], in_plane, out=squares[part])
    return squares


def _plane_squares(sources: Mask, spacing_mm: Sequence[float], steps: int) -> Floats:
    """Squared distance of every pixel [X, Y] to the nearest source that is at most so many steps away along y."""
    index = np.arange(len(sources))[:, None]
    before = np.maximum.accumulate(np.where(sources, index, -(1 << 30)), axis=0)
    after = np.minimum.accumulate(np.where(sources, index, 1 << 30)[::-1], axis=0)[::-1]
    along = np.minimum(index - before, after - index)
    lines: Floats = np.where(along < 1 << 29, (along * spacing_mm[0]) ** 2, np.inf)
    squares = lines.copy()
    for step in range(1, min(steps, sources.shape[1] - 1) + 1):
        more = (step * spacing_mm[1]) ** 2
        np.minimum(squares[:, step:], lines[:, :-step] + more, out=squares[:, step:])
        np.minimum(squares[:, :-step], lines[:, step:] + more, out=squares[:, :-step])
    return squares
