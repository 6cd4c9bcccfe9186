"""Where a place of one scan lies in another one of the same patient, from organs that both show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]

_ROUNDS = 40
_STILL_MM = 0.01
_LEAST_SCALE_MM = 2.0
_SCALES_MM = (10.0, 1000.0)
"""The first keeps to what fits where much is cut off; the second finds the way from far off."""
_LEAST_SPREAD_MM = 20.0
_MOST_UNLIKE = 1.5
_SLIDE_MM, _SLIDE_STEP_MM, _FAR_MM = 300, 15, 30.0
_FEW_POINTS = 500


@dataclass(frozen=True, eq=False)
class Rigid:
    """A rotation and a shift.

    Args:
        rotation: float64 [3, 3].
        shift_mm: float64 [3], added after the rotation.
    """

    rotation: Points
    shift_mm: Points

    @classmethod
    def none(cls) -> Rigid:
        """Every place stays."""
        return cls(np.eye(3), np.zeros(3))

    def __call__(self, points_mm: Points) -> Points:
        """Move points [..., 3]."""
        return points_mm @ self.rotation.T + self.shift_mm

    @property
    def inverse(self) -> Rigid:
        """The way back."""
        return Rigid(self.rotation.T, -self.rotation.T @ self.shift_mm)

    @property
    def angle_deg(self) -> float:
        """Angle of the rotation."""
        return float(np.degrees(np.arccos(np.clip((np.trace(self.rotation) - 1) / 2, -1, 1))))

    @property
    def matrix(self) -> Points:
        """The alignment as an affine, float64 [4, 4]."""
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = self.rotation, self.shift_mm
        return matrix


@dataclass(frozen=True, eq=False)
class Landmark:
    """An organ as alignment sees it.

    Args:
        centroid_mm: mean of its voxel centres, [3].
        surface_mm: some of its voxels at the surface, [n, 3], n > 0, none where the scan cuts the organ.
        complete: whether the scan does not cut it.
        volume_ml: as far as it is in view.
    """

    centroid_mm: Points
    surface_mm: Points
    complete: bool
    volume_ml: float


Pair = tuple[Landmark, Landmark]


def align(pairs: Sequence[Pair]) -> Rigid:
    """The rigid movement of organs from one scan to another. Swapping all pairs gives its inverse.

    Centroids of complete organs give the start; without any, one scan slides along the other, since each shows another
    part of every organ. Then surfaces are fitted to each other: Besl and McKay, "A method for
    registration of 3-D shapes", 1992, with nearest points from both sides. Every organ counts the same, and distances
    far above the median count for little, so that an organ that has changed or was mistaken does not decide.

    Args:
        pairs: organs of both scans, at least one.
    """
    whole = [pair for pair in pairs if pair[0].complete and pair[1].complete]
    ours, theirs = (np.array([pair[side].centroid_mm for pair in whole or pairs]) for side in (0, 1))
    start = _fit_centroids(ours, theirs) if whole else _slide(pairs, Rigid(np.eye(3), (theirs - ours).mean(axis=0)))
    fits = [_fit_surfaces(pairs, start, turn=True, scale_mm=scale) for scale in _SCALES_MM]
    return min(fits, key=lambda fit: _misfit_mm(pairs, fit))


def within_organ(pair: Pair, start: Rigid) -> Rigid:
    """The movement of all organs, shifted so that one organ fits: breathing moves organs against each other.

    It stays where one scan shows much less of the organ.
    """
    less, more = sorted(organ.volume_ml for organ in pair)
    if more > _MOST_UNLIKE * less:
        return start
    return _fit_surfaces([pair], start, turn=False, scale_mm=_SCALES_MM[0])


def residual_mm(pairs: Sequence[Pair], movement: Rigid) -> float:
    """Median distance from some points of either surface to the nearest point of the other one, in the median organ."""
    medians = []
    for one, two in pairs:
        ours, theirs = movement(one.surface_mm), two.surface_mm
        ways = (_squares(_thinned(ours), theirs), _squares(_thinned(theirs), ours))
        medians.append(np.median(np.sqrt(np.concatenate([way.min(axis=1) for way in ways]))))
    return float(np.median(medians))


def _fit_centroids(ours: Points, theirs: Points) -> Rigid:
    """Least absolute distances instead of squares, by repeated weighting; no rotation where it cannot be told."""
    weights = np.ones(len(ours))
    turn = min(_spread_mm(ours), _spread_mm(theirs)) >= _LEAST_SPREAD_MM
    movement = Rigid.none()
    for _ in range(_ROUNDS):
        movement = _fit(ours, theirs, weights, turn=turn)
        weights = 1 / np.maximum(np.linalg.norm(movement(ours) - theirs, axis=1), 1)
    return movement


def _slide(pairs: Sequence[Pair], start: Rigid) -> Rigid:
    """The best of many places along the body, by distances of surfaces up to a limit."""
    shifts = np.arange(-_SLIDE_MM, _SLIDE_MM + 1, _SLIDE_STEP_MM)
    places = [Rigid(start.rotation, start.shift_mm + np.array([0, 0, shift])) for shift in shifts]
    return min(places, key=lambda place: _misfit_mm(pairs, place))


def _thinned(points: Points) -> Points:
    """At most _FEW_POINTS of them, evenly spread over their order."""
    return points[np.unique(np.linspace(0, len(points) - 1, _FEW_POINTS).round().astype(int))]


def _misfit_mm(pairs: Sequence[Pair], movement: Rigid) -> float:
    away = [np.concatenate(_nearest(pair, movement)[2]) for pair in pairs]
    return float(np.mean([np.minimum(d, _FAR_MM).mean() for d in away]))


def _spread_mm(points: Points) -> float:
    """How far points lie from a line, as a standard deviation."""
    if len(points) < 3:
        return 0.0
    return float(np.linalg.svd(points - points.mean(axis=0), compute_uv=False)[1] / np.sqrt(len(points)))


def _fit_surfaces(pairs: Sequence[Pair], movement: Rigid, *, turn: bool, scale_mm: float) -> Rigid:
    """Fit surfaces, step by step. scale_mm: distances far above it count for little, however large the median is."""
    centre = np.mean([pair[0].centroid_mm for pair in pairs], axis=0)
    for _ in range(_ROUNDS):
        found = [_nearest(pair, movement) for pair in pairs]
        ours, theirs = (np.concatenate([part for row in found for part in row[side]]) for side in (0, 1))
        away = [np.concatenate(row[2]) for row in found]
        scale = float(np.clip(2 * np.median(np.concatenate(away)), _LEAST_SCALE_MM, scale_mm))
        weights = np.concatenate([1 / len(d) / (1 + (d / scale) ** 2) ** 2 for d in away])
        if turn:
            onwards = _fit(ours, theirs, weights, turn=True)
        else:
            further = np.average(theirs - movement(ours), axis=0, weights=weights)
            onwards = Rigid(movement.rotation, movement.shift_mm + further)
        reach = centre + 200 * np.eye(3)
        moved = float(np.abs(onwards(reach) - movement(reach)).max())
        movement = onwards
        if moved < _STILL_MM:
            break
    return movement


def _nearest(pair: Pair, movement: Rigid) -> tuple[list[Points], list[Points], list[Points]]:
    """Points of the first organ, those of the second that belong to them, and their distances; from either side."""
    ours, theirs = _thinned(pair[0].surface_mm), _thinned(pair[1].surface_mm)
    squares = _squares(movement(ours), theirs)
    to, back = squares.argmin(axis=1), squares.argmin(axis=0)
    away = [np.sqrt(squares.min(axis=1)), np.sqrt(squares.min(axis=0))]
    return [ours, ours[back]], [theirs[to], theirs], away


def _squares(ours: Points, theirs: Points) -> npt.NDArray[np.float32]:
    """Squared distances between all points, [ours, theirs]."""
    one, two = ((points - ours[0]).astype(np.float32) for points in (ours, theirs))
    squares = np.zeros((len(ours), len(theirs)), np.float32)
    for axis in range(3):
        squares += (one[:, axis, None] - two[None, :, axis]) ** 2
    return squares


def _fit(ours: Points, theirs: Points, weights: Points, *, turn: bool) -> Rigid:
    """The weighted least squares of distances. Kabsch, "A solution for the best rotation", 1976."""
    shares = weights / weights.sum()
    here, there = shares @ ours, shares @ theirs
    rotation = np.eye(3)
    if turn:
        u, _, v = np.linalg.svd((shares[:, None] * (ours - here)).T @ (theirs - there))
        keep = np.diag([1, 1, np.sign(np.linalg.det(v.T @ u.T))])
        rotation = v.T @ keep @ u.T
    return Rigid(rotation, there - rotation @ here)
