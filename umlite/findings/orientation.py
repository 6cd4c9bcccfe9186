"""Whether the body lies the right way round, and has a usual size."""

from __future__ import annotations

import math
from collections.abc import Iterator

from umlite.findings.body import PAIRS, Line
from umlite.findings.finding import Finding, Unjudged, readable
from umlite.findings.subject import Subject

LEAST_SLOPE = (0.4, 0.6, 0.2)
LEAST_SPREAD_MM = (60.0, 40.0, 60.0)
LEAST_HEIGHT_MM = 80.0
USUAL_SIZE = (0.6, 1.5)
SIZE_SPREAD_MM = (100.0, 90.0, 150.0)
APART_MM = 20.0
_AXES = ("left to right", "back to front", "feet to head")


def swapped_sides(subject: Subject) -> Iterator[Finding | Unjudged]:
    """Left and right, from the places of liver, stomach, spleen and others against the middle of the body."""
    yield from _turned(subject, 0, "sides-swapped", "left and right", " Situs inversus looks the same.")


def front_and_back(subject: Subject) -> Iterator[Finding | Unjudged]:
    """Front and back, from organs before and beside the spine."""
    yield from _turned(subject, 1, "front-back-swapped", "front and back", "")


def head_and_feet(subject: Subject) -> Iterator[Finding | Unjudged]:
    """Head and feet, from the order of lungs, liver, kidneys, bladder and others."""
    height = float(subject.box_mm[1, 2] - subject.box_mm[0, 2])
    if height < LEAST_HEIGHT_MM:
        yield Unjudged("head and feet", f"the scan is {height:.0f} mm high, under {LEAST_HEIGHT_MM:g} mm")
        return
    yield from _turned(subject, 2, "head-feet-swapped", "head and feet", "")


def body_size(subject: Subject) -> Iterator[Finding | Unjudged]:
    """The distances between organs, which are wrong if the spacing is."""
    for axis, line in enumerate(subject.body.lines):
        if line.spread_mm < SIZE_SPREAD_MM[axis] or line.slope < LEAST_SLOPE[axis]:
            continue
        if not USUAL_SIZE[0] <= line.slope <= USUAL_SIZE[1]:
            yield Finding(
                "body-size",
                "warning",
                f"From {_AXES[axis]}, the organs lie {line.slope:.2f} times as far apart as in an adult: is the "
                f"spacing right?",
                evidence={"axis": "xyz"[axis], **_evidence(line)},
            )


def swapped_pairs(subject: Subject) -> Iterator[Finding | Unjudged]:
    """Two organs of a pair on each other's side."""
    for pair in PAIRS:
        right, left = (subject.classes.get(name) for name in pair)
        if right is None or left is None or right.centroid_mm is None or left.centroid_mm is None:
            continue
        apart = right.centroid_mm[0] - left.centroid_mm[0]
        if apart < -APART_MM and min(right.volume_ml, left.volume_ml) >= 1:
            yield Finding(
                "pair-swapped",
                "warning",
                f"{readable(pair[0]).capitalize()} lies {-apart:.0f} mm to the left of {readable(pair[1])}.",
                pair,
                {"right_to_left_mm": round(apart, 1)},
            )


def _turned(subject: Subject, axis: int, code: str, about: str, remark: str) -> Iterator[Finding | Unjudged]:
    line = subject.body.lines[axis]
    if math.isnan(line.slope) or line.spread_mm < LEAST_SPREAD_MM[axis]:
        yield Unjudged(about, "too few organs were found or asked for")
    elif line.slope < LEAST_SLOPE[axis]:
        yield Finding(
            code,
            "warning",
            f"{about.capitalize()} are probably swapped: the places of {line.organs} organs have a slope of "
            f"{line.slope:.2f} against an upright body, not about 1.{remark}",
            evidence=_evidence(line),
        )


def _evidence(line: Line) -> dict[str, float | int]:
    return {"slope": round(line.slope, 2), "spread_mm": round(line.spread_mm, 1), "organs": line.organs}
