"""Volumes and HU that an adult's organs can have, also with disease, and the check of them.

Ranges are wide on purpose: outside them, a wrong mask or scan is likelier than a rare patient. Sources:

- G: E. M. Geraghty et al., Normal organ volume assessment from abdominal CT, Abdominal Imaging 29 (2004), 482-490.
  Means of women and men in ml: pancreas 64 and 87, kidney 157 and 193, spleen 180 and 238, liver 1411 and 1710,
  adrenal gland 4.4 and more. The range runs from a quarter or a third of the mean, for small and shrunken organs, to
  three times the mean, and to ten times for the spleen, which disease enlarges most.
- P: the phantoms and the CT scans of patients at hand, widened to a third and to three times or more.
- T: tissue. Fat is at -100 HU, water at 0, soft tissue at 20 to 80, with contrast agent up to 300 in organs and 700 in
  arteries; fatty livers go down to -30, inflated lungs lie at -900 to -650 and dense ones higher.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from umlite.findings.finding import Finding, Unjudged, readable
from umlite.findings.subject import Subject
from umlite.findings.view import CUT_MM

Span = tuple[float, float]
LEAST_HU_ML = 2.0


@dataclass(frozen=True)
class Range:
    """What is plausible for a class.

    Args:
        volume_ml: least and greatest volume; the least counts only where no face of the scan cuts the organ.
        median_hu: least and greatest median HU; None where gas, stool or contrast agent may fill it.
        source: of the volume and of the HU; see above.
    """

    volume_ml: Span
    median_hu: Span | None
    source: str


RANGES: dict[str, Range] = {
    "spleen": Range((40, 2000), (15, 300), "G, T"),
    "right_kidney": Range((40, 700), (-10, 400), "G, T"),
    "left_kidney": Range((40, 700), (-10, 400), "G, T"),
    "gallbladder": Range((2, 300), (-30, 250), "P, T"),
    "esophagus": Range((2, 200), None, "P"),
    "liver": Range((450, 5000), (-30, 250), "G, T"),
    "stomach": Range((25, 3000), None, "P"),
    "aorta": Range((10, 1500), (10, 900), "P, T"),
    "postcava": Range((10, 500), (5, 500), "P, T"),
    "portal_vein_and_splenic_vein": Range((3, 150), (5, 400), "P, T"),
    "pancreas": Range((15, 260), (-60, 250), "G, T"),
    "right_adrenal_gland": Range((0.8, 40), (-60, 200), "G, T"),
    "left_adrenal_gland": Range((0.8, 40), (-60, 200), "G, T"),
    "duodenum": Range((15, 400), None, "P"),
    "hepatic_vessel": Range((0, 300), (5, 400), "P, T"),
    "right_lung": Range((300, 6000), (-980, -300), "P, T"),
    "left_lung": Range((300, 6000), (-980, -300), "P, T"),
    "colon": Range((100, 6000), None, "P"),
    "intestine": Range((50, 4000), None, "P"),
    "rectum": Range((8, 800), None, "P"),
    "bladder": Range((10, 2000), (-30, 3000), "P, T"),
    "prostate": Range((5, 1500), (-30, 250), "P, T"),
    "left_head_of_femur": Range((12, 150), (20, 900), "P, T"),
    "right_head_of_femur": Range((12, 150), (20, 900), "P, T"),
    "celiac_trunk": Range((0, 20), None, "P"),
}
"""Plausible ranges by canonical name."""


def implausible(subject: Subject) -> Iterator[Finding | Unjudged]:
    """Volumes and HU outside their range. Organs of which next to nothing was found are told as absent instead."""
    for name, span in RANGES.items():
        found = subject.classes.get(name)
        if found is None or found.hu is None or found.volume_ml < 0.1 * span.volume_ml[0]:
            continue
        low, high = span.volume_ml
        whole = not subject.faces_near(name, CUT_MM)
        if (whole and found.volume_ml < low) or found.volume_ml > high:
            yield Finding(
                "volume-implausible",
                "warning",
                f"{readable(name).capitalize()} has {found.volume_ml:.3g} ml: expected {low:g} to {high:g}.",
                (name,),
                {"volume_ml": round(found.volume_ml, 2), "expected_ml": [low, high]},
            )
        if span.median_hu and found.volume_ml >= min(LEAST_HU_ML, low):
            low, high = span.median_hu
            median = found.hu.median
            if not low <= median <= high:
                yield Finding(
                    "hu-implausible",
                    "warning",
                    f"{readable(name).capitalize()} has a median HU of {median:.0f}: expected {low:g} to {high:g}.",
                    (name,),
                    {"median_hu": round(median, 1), "expected_hu": [low, high]},
                )
