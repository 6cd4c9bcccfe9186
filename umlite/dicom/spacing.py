"""Where the planes of a stack lie along their normal: even or not, missing, filled; and the affine that follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from umlite.dicom.frames import Frame
from umlite.errors import InputError

SAME_MM = 0.01
"""Planes closer than this lie in one place."""
_UNEVEN_SHARE, _UNEVEN_MM = 0.05, 0.101
"""What rounding a position to 0.1 mm does to it and to the ends of its stack is no unevenness."""
_SIDEWAYS_MM = 0.5
_TILT_DEGREES = 0.5
_LEAST_FILLED_MM, _MOST_PLANES = 0.5, 2048
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Row:
    """How planes that are sorted along their normal follow each other.

    along_mm: place of each, float64 [N]. step_mm: float64 [3], LPS, from one plane to the next where they are even.
    gaps_mm: distances of neighbours, float64 [N - 1]. sideways_mm: how far a plane lies beside the line through the
    first and the last.
    """

    along_mm: np.ndarray
    step_mm: np.ndarray
    gaps_mm: np.ndarray
    sideways_mm: float
    is_even: bool

    @classmethod
    def of(cls, frames: Sequence[Frame]) -> Row:
        """The row of at least two planes, sorted."""
        positions = np.array([frame.position for frame in frames])
        normal = frames[0].normal
        along = positions @ normal
        gaps = np.diff(along)
        course = (positions[-1] - positions[0]) / (along[-1] - along[0])
        straight = positions[0] + (along - along[0])[:, None] * course
        step = (along[-1] - along[0]) / (len(frames) - 1)
        drift = np.abs(along - along[0] - step * np.arange(len(frames))).max()
        is_even = bool(
            drift <= max(_UNEVEN_MM, _UNEVEN_SHARE * step) and np.ptp(gaps) <= max(2 * _UNEVEN_MM, 0.2 * step)
        )
        return cls(along, course * step, gaps, float(np.linalg.norm(positions - straight, axis=1).max()), is_even)

    @property
    def is_straight(self) -> bool:
        """Whether one line goes through the planes' first pixels."""
        return self.sideways_mm <= _SIDEWAYS_MM

    @property
    def is_tilted(self) -> bool:
        """Whether the gantry was tilted."""
        return self.tilt_degrees > _TILT_DEGREES

    @property
    def usual_mm(self) -> float:
        """The distance that most neighbours have."""
        return float(np.median(self.gaps_mm))

    def regular_mm(self, thickness_mm: float | None = None) -> float | None:
        """The distance that all others are multiples of: the usual one, the least, or the thickness; None without."""
        for step in (self.usual_mm, float(self.gaps_mm.min()), thickness_mm or 0.0):
            times = self.gaps_mm / step if step > SAME_MM else np.zeros(1)
            if times.min() > 0.5 and np.abs(times - np.round(times)).max() <= _UNEVEN_SHARE:
                return step
        return None

    @property
    def tilt_degrees(self) -> float:
        """Angle between the planes' normal and the way from one to the next."""
        step = np.linalg.norm(self.step_mm)
        share = abs(self.along_mm[-1] - self.along_mm[0]) / (len(self.along_mm) - 1) / step
        return float(np.degrees(np.arccos(min(1.0, share))))

    def describe_gaps(self) -> str:
        """What is not even about it, in words."""
        widest = int(np.argmax(self.gaps_mm))
        where = f"the widest gap, {self.gaps_mm[widest]:.4g} mm, follows {self.along_mm[widest]:.4g} mm"
        if self.regular_mm() == self.usual_mm:
            missing = int(np.round(self.gaps_mm / self.usual_mm).sum()) - len(self.gaps_mm)
            are = "slices are" if missing > 1 else "slice is"
            return f"{missing} {are} missing among {len(self.along_mm)} at {self.usual_mm:.4g} mm: {where}"
        return f"its slices are {self.gaps_mm.min():.4g} to {self.gaps_mm.max():.4g} mm apart: {where}"


@dataclass(frozen=True)
class Plane:
    """A plane of the volume: `share` of plane `second` of the stack, the rest of plane `first`."""

    first: int
    second: int
    share: float = 0.0


@dataclass(frozen=True, eq=False)
class Plan:
    """How a stack becomes a volume.

    planes: of the volume. affine: float64 [4, 4], voxel index (column, row, plane) -> RAS mm.
    """

    planes: tuple[Plane, ...]
    affine: np.ndarray

    @property
    def is_filled(self) -> bool:
        """Whether planes differ from those of the stack."""
        return any(plane != Plane(i, i) for i, plane in enumerate(self.planes))


def plan_volume(frames: Sequence[Frame], label: str, *, fill_gaps: bool) -> Plan:
    """Planes and affine of a sorted stack; a tilted gantry gives a sheared affine, and nothing is resampled.

    fill_gaps: interpolate planes where they are missing or uneven.
    Raises InputError where voxels would be in a wrong place.
    """
    if len(frames) == 1:
        return Plan((Plane(0, 0),), _affine(frames[0], frames[0].normal * _thickness(frames[0], label)))
    row = Row.of(frames)
    if not row.is_straight:
        raise InputError(
            f"{label}: its slices lie up to {row.sideways_mm:.3g} mm beside one line: expected a straight stack. "
            f"Export the series again."
        )
    if row.is_even:
        return Plan(tuple(Plane(i, i) for i in range(len(frames))), _affine(frames[0], row.step_mm))
    if not fill_gaps:
        raise InputError(
            f"{label}: {row.describe_gaps()}. Expected evenly spaced ones, without which masks would be in a wrong "
            f"place. Copy what is missing, or fill the gaps by interpolation.",
            about="fill_gaps",
        )
    return _fill(frames, row, label)


def _fill(frames: Sequence[Frame], row: Row, label: str) -> Plan:
    """Even planes, interpolated linearly; those that are there stay as they are where others are missing only."""
    length = float(row.along_mm[-1] - row.along_mm[0])
    regular = row.regular_mm(frames[0].thickness_mm)
    count = round(length / (regular or max(float(row.gaps_mm.min()), _LEAST_FILLED_MM))) + 1
    if count > _MOST_PLANES:
        raise InputError(f"{label}: {row.describe_gaps()}. Too much is missing to fill the gaps. Copy what is missing.")
    course = row.step_mm / (length / (len(frames) - 1))
    near = max(SAME_MM, _UNEVEN_SHARE * regular) if regular else SAME_MM
    planes = []
    for place in np.linspace(row.along_mm[0], row.along_mm[-1], count):
        after = int(np.clip(np.searchsorted(row.along_mm, place), 1, len(frames) - 1))
        before, behind = row.along_mm[after - 1], row.along_mm[after]
        share = float(np.clip((place - before) / (behind - before), 0, 1))
        if abs(place - before) <= near:
            planes.append(Plane(after - 1, after - 1))
        elif abs(place - behind) <= near:
            planes.append(Plane(after, after))
        else:
            planes.append(Plane(after - 1, after, share))
    return Plan(tuple(planes), _affine(frames[0], course * length / (count - 1)))


def _thickness(frame: Frame, label: str) -> float:
    if not frame.thickness_mm or frame.thickness_mm <= 0:
        raise InputError(f"{label} has one slice without a thickness: expected several. Give the whole series.")
    return frame.thickness_mm


def _affine(frame: Frame, step_mm: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    between_columns, between_rows = frame.spacing_mm
    lps = np.column_stack([frame.row * between_columns, frame.column * between_rows, step_mm])
    affine[:3, :3] = _LPS_TO_RAS @ lps
    affine[:3, 3] = _LPS_TO_RAS @ frame.position
    return affine
