"""A comparison in words and numbers for people: the rows that terminal and page share."""

from __future__ import annotations

from umlite.comparison.comparison import Comparison
from umlite.comparison.side import Organ, Spot
from umlite.comparison.verdicts import Change, Size, Verdict, percent

Rows = list[tuple[str, ...]]

VERDICTS: dict[Verdict, str] = {
    "new": "new",
    "gone": "gone",
    "growing": "growing",
    "shrinking": "shrinking",
    "stable": "stable",
    "merged": "merged",
    "split": "split",
    "regrouped": "regrouped",
    "out_of_view_a": "out of view in A",
    "out_of_view_b": "out of view in B",
}
ORGAN_COLUMNS = ("class", "A (ml)", "B (ml)", "change (ml)", "change (%)", "cut in")
LESION_COLUMNS = ("lesion", "in A", "in B", "A (ml)", "B (ml)", "change (%)", "A (mm)", "B (mm)", "change (mm)", "cut")
SUM_COLUMNS = ("class", "A (ml)", "B (ml)", "change (%)", "A (mm)", "B (mm)", "change (%)")
RIGHT = {"organs": (1, 2, 3, 4), "lesions": (3, 4, 5, 6, 7, 8), "sums": (1, 2, 3, 4, 5, 6)}
"""Numbers of right-aligned columns."""


def organ_rows(found: Comparison) -> Rows:
    """A row per organ."""
    return [
        (
            one.name,
            *_pair(one.volume_ml, two.volume_ml),
            _signed(two.volume_ml - one.volume_ml, 1),
            _percent(one.volume_ml, two.volume_ml),
            _cut(one, two),
        )
        for one, two in found.organs
    ]


def lesion_rows(found: Comparison) -> Rows:
    """A row per lesion, or per lesions that belong together."""
    return [_lesion_row(change) for change in found.changes]


def sum_rows(found: Comparison) -> Rows:
    """A row per class of lesions."""
    return [
        (
            name,
            *_pair(one.volume_ml, two.volume_ml),
            _percent(one.volume_ml, two.volume_ml),
            *_pair(one.diameter_mm, two.diameter_mm),
            _percent(one.diameter_mm, two.diameter_mm),
        )
        for name, (one, two) in found.burdens().items()
    ]


def alignment_sentence(found: Comparison) -> str:
    """How B lies to A."""
    alignment = found.alignment
    if alignment.residual_mm is None:
        return "A and B are compared by the coordinates that the scans state."
    return (
        f"B is aligned to A by {len(alignment.organs)} organ{'s' if len(alignment.organs) > 1 else ''}: turned by "
        f"{alignment.movement.angle_deg:.1f} degrees; surfaces {alignment.residual_mm:.1f} mm apart."
    )


def _lesion_row(change: Change) -> tuple[str, ...]:
    one, two = change.sizes
    return (
        VERDICTS[change.verdict],
        _ids(change.ours),
        _ids(change.theirs),
        *_sizes(one, two),
        "" if change.complete else "yes",
    )


def _sizes(one: Size, two: Size) -> tuple[str, ...]:
    both = one.diameter_mm and two.diameter_mm
    return (
        f"{one.volume_ml:,.2f}" if one.volume_ml else "-",
        f"{two.volume_ml:,.2f}" if two.volume_ml else "-",
        _percent(one.volume_ml, two.volume_ml),
        f"{one.diameter_mm:.1f}" if one.diameter_mm else "-",
        f"{two.diameter_mm:.1f}" if two.diameter_mm else "-",
        _signed(two.diameter_mm - one.diameter_mm, 1) if both else "-",
    )


def _ids(spots: tuple[Spot, ...]) -> str:
    return ", ".join(spot.id for spot in spots) or "-"


def _pair(one: float, two: float) -> tuple[str, str]:
    return f"{one:,.1f}", f"{two:,.1f}"


def _signed(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:+,.{digits}f}"  # -0.0 becomes 0.0


def _percent(before: float, after: float) -> str:
    return _signed(percent(before, after), 0) if before and after else "-"


def _cut(one: Organ, two: Organ) -> str:
    return " and ".join(name for name, organ in (("A", one), ("B", two)) if organ.complete is False)
