"""What became of a lesion: verdicts and the thresholds behind them.

Thresholds are those of RECIST 1.1 for progression (Eisenhauer et al., European Journal of Cancer 2009): 20 % of the
longest diameter and at least 5 mm, for lesions of at least 10 mm; and of the same growth in a ball's volume,
1.2 ** 3 = 1.73. RECIST's 30 % for a response is not used: with one factor for both directions, the verdict of a
comparison does not depend on which scan is named first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from umlite.comparison.matching import LEAST_OVERLAP, REACH_MM
from umlite.comparison.side import Spot

DIAMETER_FACTOR = 1.2
LEAST_CHANGE_MM = 5.0
VOLUME_FACTOR = 1.73
MEASURABLE_MM = 10.0

Verdict = Literal[
    "new", "gone", "growing", "shrinking", "stable", "merged", "split", "regrouped", "out_of_view_a", "out_of_view_b"
]


@dataclass(frozen=True)
class Size:
    """Size of a lesion, or of several that belong together.

    Args:
        volume_ml: the sum of volumes.
        diameter_mm: the sum of longest axial diameters, as RECIST adds those of a lesion's fragments.
    """

    volume_ml: float
    diameter_mm: float

    @classmethod
    def of(cls, spots: Sequence[Spot]) -> Size:
        """The size of some lesions; 0 of none."""
        return cls(sum(spot.volume_ml for spot in spots), sum(spot.axial_diameter_mm for spot in spots))


@dataclass(frozen=True, eq=False)
class Change:
    """A lesion of both scans, or of one of them, or several that belong together.

    Args:
        class_name: of the tumour or cyst.
        verdict: what became of it.
        ours, theirs: its lesions in the first scan and in the second one.
        distance_mm: between the centres of both, weighted by volume, after alignment; None where either has none.
    """

    class_name: str
    verdict: Verdict
    ours: tuple[Spot, ...]
    theirs: tuple[Spot, ...]
    distance_mm: float | None

    @property
    def sizes(self) -> tuple[Size, Size]:
        """In the first scan and in the second one."""
        return Size.of(self.ours), Size.of(self.theirs)

    @property
    def complete(self) -> bool:
        """Whether no lesion of it is cut by the end of a scan."""
        return all(spot.complete for spot in (*self.ours, *self.theirs))

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        one, two = self.sizes
        return {
            "class_name": self.class_name,
            "verdict": self.verdict,
            "a": [spot.to_dict() for spot in self.ours],
            "b": [spot.to_dict() for spot in self.theirs],
            **sizes_side_by_side(one, two),
            "complete": self.complete,
            "distance_mm": None if self.distance_mm is None else round(self.distance_mm, 3),
        }


def sizes_side_by_side(one: Size, two: Size) -> dict[str, float | None]:
    """Volumes and diameters of both scans and their change; in percent only where there is something to grow from."""
    found: dict[str, float | None] = {}
    for name, before, after in (
        ("volume", one.volume_ml, two.volume_ml),
        ("diameter", one.diameter_mm, two.diameter_mm),
    ):
        unit = "ml" if name == "volume" else "mm"
        found |= {
            f"{name}_a_{unit}": round(before, 4),
            f"{name}_b_{unit}": round(after, 4),
            f"{name}_change_{unit}": round(after - before, 4),
            f"{name}_change_percent": round(percent(before, after), 2) if before and after else None,
        }
    return found


def percent(before: float, after: float) -> float:
    """The change as a share of what was there before."""
    return 100 * (after - before) / before


def judge(ours: Sequence[Spot], theirs: Sequence[Spot], *, in_view: bool) -> Verdict:
    """The verdict about lesions that belong together.

    Args:
        ours, theirs: those of the first scan and of the second one; one of them may be empty.
        in_view: if either is empty, whether that scan shows the place.
    """
    if not theirs:
        return "gone" if in_view else "out_of_view_b"
    if not ours:
        return "new" if in_view else "out_of_view_a"
    if len(ours) == len(theirs):
        return by_size(Size.of(ours), Size.of(theirs)) if len(ours) == 1 else "regrouped"
    return "merged" if len(ours) > len(theirs) else "split"


def by_size(one: Size, two: Size) -> Verdict:
    """Whether a lesion grew: by volume if it is measurable in either scan, else or if that is stable by diameter."""
    if max(one.diameter_mm, two.diameter_mm) >= MEASURABLE_MM:
        if two.volume_ml >= VOLUME_FACTOR * one.volume_ml:
            return "growing"
        if one.volume_ml >= VOLUME_FACTOR * two.volume_ml:
            return "shrinking"
    if _grew(one.diameter_mm, two.diameter_mm):
        return "growing"
    return "shrinking" if _grew(two.diameter_mm, one.diameter_mm) else "stable"


def _grew(before_mm: float, after_mm: float) -> bool:
    return after_mm >= DIAMETER_FACTOR * before_mm and after_mm - before_mm >= LEAST_CHANGE_MM


def thresholds() -> dict[str, float]:
    """All thresholds, for whoever reads a result."""
    return {
        "diameter_factor": DIAMETER_FACTOR,
        "least_change_mm": LEAST_CHANGE_MM,
        "volume_factor": VOLUME_FACTOR,
        "measurable_mm": MEASURABLE_MM,
        "least_overlap": LEAST_OVERLAP,
        "reach_mm": REACH_MM,
    }
