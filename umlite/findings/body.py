"""How a body lies in a scan: a straight line for each axis through the places of the organs that were found.

An upright body gives slopes near 1. A slope near 0 or below means that the organs lie in the wrong order: the axis was
probably exchanged end for end. A slope far above or below 1 means a body of the wrong size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from umlite.results.statistics import ClassStatistics


@dataclass(frozen=True)
class Place:
    """Where an organ of an adult lies.

    Args:
        centre_mm: RAS, from the middle of the body (0, y, z) with 0 at the front of the spine between L1 and L2.
        half_mm: half the size of its box.
        volume_ml: usual volume.
        axes: axes along which it tells how the body lies; its place varies too much along the others.
    """

    centre_mm: tuple[float, float, float]
    half_mm: tuple[float, float, float]
    volume_ml: float
    axes: str = "xyz"


ATLAS: dict[str, Place] = {
    "spleen": Place((-112, -17, 31), (33, 49, 52), 240),
    "right_kidney": Place((73, -13, -24), (30, 26, 49), 140, "yz"),
    "left_kidney": Place((-73, -17, -7), (33, 29, 51), 140, "yz"),
    "gallbladder": Place((60, 68, -13), (20, 25, 26), 30),
    "esophagus": Place((-10, 20, 140), (16, 16, 90), 20, "z"),
    "liver": Place((70, 16, 40), (94, 86, 74), 1500),
    "stomach": Place((-54, 52, 38), (71, 64, 65), 350),
    "aorta": Place((-7, 9, 40), (15, 20, 100), 100, "x"),
    "postcava": Place((22, 21, 10), (18, 24, 100), 80, "xy"),
    "portal_vein_and_splenic_vein": Place((1, 39, 20), (60, 24, 23), 16, "yz"),
    "pancreas": Place((-11, 47, 12), (62, 36, 43), 65),
    "right_adrenal_gland": Place((33, -11, 34), (11, 14, 17), 5, "yz"),
    "left_adrenal_gland": Place((-37, 0, 28), (9, 14, 20), 5, "yz"),
    "duodenum": Place((18, 48, -43), (57, 20, 40), 70),
    "hepatic_vessel": Place((51, 31, 50), (59, 46, 36), 20),
    "right_lung": Place((78, -7, 179), (64, 89, 120), 1800, "yz"),
    "left_lung": Place((-76, -17, 169), (57, 86, 122), 1500, "yz"),
    "colon": Place((0, 50, -56), (128, 67, 95), 600, ""),
    "intestine": Place((0, 63, -96), (92, 40, 80), 500, "yz"),
    "rectum": Place((0, -50, -220), (30, 35, 50), 70),
    "bladder": Place((0, 30, -211), (42, 30, 28), 120),
    "prostate": Place((0, 5, -225), (24, 30, 25), 60),
    "left_head_of_femur": Place((-85, 3, -216), (24, 20, 21), 45, "yz"),
    "right_head_of_femur": Place((85, 3, -216), (24, 20, 21), 45, "yz"),
    "celiac_trunk": Place((-9, 36, 23), (6, 11, 6), 1.5, ""),
}
"""Medians over 32 phantoms of adults of both sexes, rounded; rectum and prostate from anatomy. Scans of patients follow
them with slopes of 0.8 to 1.2."""

PAIRS = (
    ("right_kidney", "left_kidney"),
    ("right_lung", "left_lung"),
    ("right_head_of_femur", "left_head_of_femur"),
    ("right_adrenal_gland", "left_adrenal_gland"),
)
"""Organs of both sides. A network may name them by their place, so only the middle of a pair tells anything about x."""

_LATERAL_WEIGHTS = {"liver": 3.0, "stomach": 1.5, "gallbladder": 0.5}
"""Along x: a network finds a spleen at the usual place in mirrored scans too, but seldom a whole liver."""
_LEAST_SHARE, _LEAST_ML = 0.1, 2.0


@dataclass(frozen=True)
class Line:
    """Places of organs along one axis against those of the atlas.

    Args:
        slope: mm of the scan per mm of the atlas; NaN if fewer than two organs tell.
        spread_mm: how far apart these organs lie in the atlas, weighted: below some 40 mm the slope means little.
        offset_mm: place of the atlas's 0 in the scan, with a slope of 1.
        organs: how many organs tell.
        residual_mm: root mean square of the distances from the line.
    """

    slope: float
    spread_mm: float
    offset_mm: float
    organs: int
    residual_mm: float


@dataclass(frozen=True)
class Body:
    """Lines along x, y and z."""

    lines: tuple[Line, Line, Line]


def fit_body(classes: Mapping[str, ClassStatistics]) -> Body:
    """Fit the atlas to the organs that were found, by weighted least squares for each axis.

    An organ weighs as much as the share of its usual volume that was found, at most 1, and nothing below a tenth.

    Args:
        classes: numbers by canonical name.
    """
    x, y, z = (_line(_points(classes, axis)) for axis in range(3))
    return Body((x, y, z))


def _points(classes: Mapping[str, ClassStatistics], axis: int) -> list[tuple[float, float, float]]:
    """Place in the atlas, place in the scan, weight."""
    points = []
    for name, place in ATLAS.items():
        found = classes.get(name)
        if "xyz"[axis] not in place.axes or found is None or found.centroid_mm is None:
            continue
        share = found.volume_ml / place.volume_ml
        if share < _LEAST_SHARE or found.volume_ml < _LEAST_ML:
            continue
        weight = min(share, 1.0) * (_LATERAL_WEIGHTS.get(name, 1.0) if axis == 0 else 1.0)
        points.append((place.centre_mm[axis], found.centroid_mm[axis], weight))
    return points + (_middles(classes) if axis == 0 else [])


def _middles(classes: Mapping[str, ClassStatistics]) -> list[tuple[float, float, float]]:
    """The middle of each pair, which lies at 0."""
    points = []
    for pair in PAIRS:
        one, other = (classes.get(name) for name in pair)
        if one is None or other is None or one.centroid_mm is None or other.centroid_mm is None:
            continue
        if min(one.volume_ml / ATLAS[pair[0]].volume_ml, other.volume_ml / ATLAS[pair[1]].volume_ml) >= _LEAST_SHARE:
            points.append((0.0, (one.centroid_mm[0] + other.centroid_mm[0]) / 2, 1.0))
    return points


def _line(points: list[tuple[float, float, float]]) -> Line:
    if len(points) < 2:
        return Line(float("nan"), 0.0, points[0][1] - points[0][0] if points else float("nan"), len(points), 0.0)
    atlas, scan, weight = np.array(points).T
    middle, mean = np.average(atlas, weights=weight), np.average(scan, weights=weight)
    square = float(weight @ (atlas - middle) ** 2)
    slope = float(weight @ ((atlas - middle) * (scan - mean))) / square if square else float("nan")
    residuals = scan - mean - slope * (atlas - middle)
    rms = float(np.sqrt(np.average(residuals**2, weights=weight)))
    return Line(slope, square**0.5, float(mean - middle), len(points), rms)
