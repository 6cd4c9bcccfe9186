"""What the scan shows of each organ: cut by its ends, out of view, or in view and yet not found."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from umlite.findings.body import ATLAS
from umlite.findings.finding import Finding, Unjudged, joined, readable
from umlite.findings.orientation import LEAST_SLOPE
from umlite.findings.subject import Subject

PRESENT_SHARE = 0.02
LEAST_ORGANS = 4
MOST_RESIDUAL_MM = 40.0
MARGIN_MM = 25.0
CUT_MM, LEAST_CUT_ML = 6.0, 0.2


def cut_organs(subject: Subject) -> Iterator[Finding | Unjudged]:
    """Organs and lesions that end at a face of the scan."""
    found = [c.name for c in subject.statistics.classes if c.volume_ml >= LEAST_CUT_ML]
    cut = {name: faces for name in found if (faces := subject.faces_near(name, CUT_MM))}
    if cut:
        told = joined([f"{readable(name)} ({joined(faces)})" for name, faces in cut.items()])
        yield Finding(
            "cut",
            "note",
            f"The scan may end before {told}: volumes are of the part in view.",
            tuple(cut),
            {"faces": {name: list(faces) for name, faces in cut.items()}},
        )


def absent_organs(subject: Subject) -> Iterator[Finding | Unjudged]:
    """Requested organs that were not found, by whether the scan shows the place where they usually lie."""
    absent = [name for name in ATLAS if name in subject.classes and _is_absent(subject, name)]
    if not absent:
        return
    if reason := _unknown_body(subject):
        yield Unjudged(f"whether {joined([readable(name) for name in absent])} should be in view", reason)
        return
    shown = {name: _shown(subject, name) for name in absent}
    here = [name for name in absent if shown[name] is True]
    if here:
        yield Finding(
            "absent-in-view",
            "warning",
            f"Not found, although the scan shows the usual place: {joined([readable(name) for name in here])}. "
            f"Removed, or missed.",
            tuple(here),
            {"volume_ml": {name: round(subject.volume_ml(name), 3) for name in here}},
        )
    away = [name for name in absent if shown[name] is False]
    if away:
        yield Finding(
            "absent-out-of-view",
            "note",
            f"Not found, and probably out of view: {joined([readable(name) for name in away])}.",
            tuple(away),
        )
    unclear = [name for name in absent if shown[name] is None]
    if unclear:
        names = joined([readable(name) for name in unclear])
        yield Unjudged(f"whether {names} should be in view", "the scan ends near the usual place")


def _is_absent(subject: Subject, name: str) -> bool:
    return subject.volume_ml(name) < PRESENT_SHARE * ATLAS[name].volume_ml


def _unknown_body(subject: Subject) -> str | None:
    """Why the body's place in the scan is not known; None if it is."""
    for axis, line in enumerate(subject.body.lines):
        if line.organs < LEAST_ORGANS:
            return "too few organs were found"
        if not line.slope >= LEAST_SLOPE[axis] or line.residual_mm > MOST_RESIDUAL_MM:
            return "the organs that were found do not tell where the body lies"
    return None


def _shown(subject: Subject, name: str) -> bool | None:
    """Whether the scan shows an organ's usual place: True if wholly, False if not at all, None if it is not clear."""
    place, box = ATLAS[name], subject.box_mm
    centre = np.array(place.centre_mm) + [line.offset_mm for line in subject.body.lines]
    half = np.array(place.half_mm)
    if ((centre - half - MARGIN_MM >= box[0]) & (centre + half + MARGIN_MM <= box[1])).all():
        return True
    if ((centre + half < box[0] + MARGIN_MM / 2) | (centre - half > box[1] - MARGIN_MM / 2)).any():
        return False
    return None
