"""The three planes of a scan, as radiologists see them: which stored axes they show, which way round, at what scale."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from umlite.volume.geometry import ras_axes

_SCREENS = (("axial", 2, 0, 1), ("coronal", 1, 0, 2), ("sagittal", 0, 1, 2))
"""Name, and the RAS axes across the plane, along its rows and along its columns."""
_ENDS = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))


@dataclass(frozen=True)
class Plane:
    """One plane on a screen, with the patient's right, or front, on the left, and front or head at the top.

    A tilted scan is shown in its true shape: its columns lean.

    Args:
        name: axial, coronal or sagittal: the closest.
        across: the scan's stored axis across the plane.
        axes: the stored axes along rows (to the right) and along columns (downwards).
        reversed: whether each of the two runs from its last voxel to its first.
        step_mm: mm a voxel to the right along rows, and downwards along columns.
        lean_mm: mm to the right for each voxel downwards.
        ends: the patient's side at the left, right, top and bottom of the picture.
    """

    name: str
    across: int
    axes: tuple[int, int]
    reversed: tuple[bool, bool]
    step_mm: tuple[float, float]
    lean_mm: float
    ends: tuple[str, str, str, str]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def planes_of(affine: np.ndarray) -> tuple[Plane, Plane, Plane]:
    """The axial, coronal and sagittal plane of a scan with this affine, voxel index -> RAS mm, float64 [4, 4]."""
    stored, flips = ras_axes(affine)

    def plane(name: str, across: int, row: int, column: int) -> Plane:
        # A screen shows RAS axes backwards: right and front are on the left, front and head at the top.
        to_right = affine[:3, stored[row]] * (1 if flips[row] else -1)
        downwards = affine[:3, stored[column]] * (1 if flips[column] else -1)
        width = float(np.linalg.norm(to_right))
        lean = float(downwards @ to_right) / width
        height = float(np.sqrt(max(downwards @ downwards - lean * lean, 0.0)))
        (right, left), (bottom, top) = _ENDS[row], _ENDS[column]
        return Plane(
            name=name,
            across=stored[across],
            axes=(stored[row], stored[column]),
            reversed=(not flips[row], not flips[column]),
            step_mm=(width, height),
            lean_mm=lean,
            ends=(left, right, top, bottom),
        )

    axial, coronal, sagittal = (plane(*screen) for screen in _SCREENS)
    return axial, coronal, sagittal
