"""The table of checks, and all of them on one result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from umlite.findings import consistency, contrast, orientation, ranges, view
from umlite.findings.finding import Finding, Level, Unjudged, joined
from umlite.findings.subject import Subject
from umlite.results.statistics import Statistics

if TYPE_CHECKING:
    from umlite.results.segmentation import Segmentation


@dataclass(frozen=True)
class Check:
    """A row of the table.

    Args:
        code: of its findings.
        level: of its findings.
        threshold, reason: when it applies and why then, in words, for the documentation.
    """

    code: str
    level: Level
    threshold: str
    reason: str


def find(result: Segmentation, statistics: Statistics) -> tuple[Finding, ...]:
    """Check a result against itself. Nothing is read or computed again.

    Classes that were not requested are not looked at: what could not be judged is the last finding, `not-judged`.

    Args:
        result: the result.
        statistics: its numbers.

    Returns:
        Warnings, then notes, each in the order of `CHECKS`.
    """
    return find_in(Subject.of(result, statistics))


def find_in(subject: Subject) -> tuple[Finding, ...]:
    """The same, from what checks look at."""
    told = [answer for run in _RUNS for answer in run(subject)]
    order = {check.code: place for place, check in enumerate(CHECKS)}
    found = [answer for answer in told if isinstance(answer, Finding)]
    found += _not_judged(answer for answer in told if isinstance(answer, Unjudged))
    return tuple(sorted(found, key=lambda f: (f.level == "note", order.get(f.code, -1))))


def _of_the_scan(subject: Subject) -> Iterator[Finding | Unjudged]:
    """What was unusual about the scan when it was read: see docs/plausibility.md."""
    for found in subject.scan_findings:
        yield Finding(found.code, "warning", found.sentence)


def _not_judged(answers: Iterable[Unjudged]) -> list[Finding]:
    """One note for all checks that could not be made."""
    by_reason: dict[str, list[str]] = {}
    for answer in answers:
        by_reason.setdefault(answer.reason, []).append(answer.about)
    if not by_reason:
        return []
    told = "; ".join(f"{joined(abouts)}, since {reason}" for reason, abouts in by_reason.items())
    return [Finding("not-judged", "note", f"Not judged: {told}.", evidence={"by_reason": by_reason})]


_RUNS: tuple[Callable[[Subject], Iterator[Finding | Unjudged]], ...] = (
    _of_the_scan,
    orientation.swapped_sides,
    orientation.head_and_feet,
    orientation.front_and_back,
    orientation.swapped_pairs,
    orientation.body_size,
    view.absent_organs,
    ranges.implausible,
    consistency.pieces,
    consistency.overlaps,
    consistency.strayed_lesions,
    view.cut_organs,
    consistency.predicted_pieces,
    contrast.contrast_phase,
    contrast.noise,
)

CHECKS: tuple[Check, ...] = (
    Check(
        "sides-swapped",
        "warning",
        f"along x, the organs follow the atlas with a slope under {orientation.LEAST_SLOPE[0]:g}",
        "Upright scans have 0.80 to 1.18, mirrored ones -1.0 to 0.05: a network finds some spleen on the usual side of "
        "a mirrored scan too, but seldom a liver.",
    ),
    Check(
        "head-feet-swapped",
        "warning",
        f"along z, a slope under {orientation.LEAST_SLOPE[2]:g}, from {orientation.LEAST_HEIGHT_MM:g} mm of height on",
        "Upright scans have 0.58 to 1.14, reversed ones -1.2 to 0.02. Lower ones cut all organs to the same height.",
    ),
    Check(
        "front-back-swapped",
        "warning",
        f"along y, a slope under {orientation.LEAST_SLOPE[1]:g}",
        "Upright scans have 0.80 to 1.20, reversed ones -1.4 to 0.56, often with too few organs found to judge.",
    ),
    Check(
        "pair-swapped",
        "warning",
        f"the right organ of a pair lies over {orientation.APART_MM:g} mm to the left of the left one",
        "Adrenal glands, the closest pair, lie 70 mm apart.",
    ),
    Check(
        "body-size",
        "warning",
        f"a slope outside {orientation.USUAL_SIZE[0]:g} to {orientation.USUAL_SIZE[1]:g}",
        "Adults vary by 15 %, and cut organs move their middles. Wrong slice distances are often twofold.",
    ),
    Check(
        "absent-in-view",
        "warning",
        f"under {view.PRESENT_SHARE:.0%} of the usual volume, and its place lies {view.MARGIN_MM:g} mm within the scan",
        "Organs lie within 20 mm of the atlas, once it lies on the organs that were found. Under 2 % is a trace.",
    ),
    Check(
        "volume-implausible",
        "warning",
        "outside its range; the least volume counts only for organs that the scan does not cut",
        "The ranges hold shrunken and enlarged organs, so what lies outside is probably a wrong mask or spacing.",
    ),
    Check(
        "hu-implausible",
        "warning",
        f"the median HU of {ranges.LEAST_HU_ML:g} ml or more lies outside its range",
        "The ranges hold all contrast phases. Outside them, the mask lies on another tissue, or the numbers are no HU.",
    ),
    Check(
        "in-pieces",
        "warning",
        f"the largest piece of an organ of {consistency.LEAST_PIECES_ML:g} ml or more holds under "
        f"{consistency.LEAST_LARGEST_SHARE:.0%}",
        "Organs lie in one piece, hepatic and portal vessels aside: a mask broke, or two became one.",
    ),
    Check(
        "overlap",
        "warning",
        f"organs share over {consistency.MOST_OVERLAP_SHARE:.0%} of the smaller, {consistency.LEAST_OVERLAP_ML:g} ml "
        "or more",
        "Neighbours share their border: up to 17 %, or 2.4 ml of an adrenal gland. Vessels inside organs do not count.",
    ),
    Check(
        "lesion-outside",
        "warning",
        f"{consistency.LEAST_LESION_ML:g} ml or more, over {consistency.MOST_HOST_DISTANCE_MM:g} mm from every organ "
        "that it may lie in",
        "Lesions at the edge of an organ are often left out of its mask, by a few mm.",
    ),
    Check(
        "cut",
        "note",
        f"{view.LEAST_CUT_ML:g} ml or more, and it ends within {view.CUT_MM:g} mm of a face of the scan",
        "The scan may end before the organ does. Networks are unsure of the last voxels: two of 3 mm are allowed for.",
    ),
    Check(
        "predicted-in-pieces",
        "note",
        f"post-processing kept under {consistency.LEAST_KEPT_SHARE:.0%} of the prediction of an organ",
        "It keeps the largest piece: what else was predicted is missing in the volume.",
    ),
    Check(
        "absent-out-of-view",
        "note",
        "under 2 % of the usual volume, and the usual place lies outside the scan",
        "A volume of 0 then says nothing about the patient.",
    ),
    Check(
        "contrast-phase",
        "note",
        f"aorta under {contrast.NATIVE_HU:g} HU: native; from {contrast.ARTERIAL_HU:g} HU and the portal vein (else "
        f"the postcava) under {contrast.ARTERIAL_RATIO:g} of it: arterial; from {contrast.PORTAL_VENOUS_HU:g} HU on: "
        "portal venous; else late",
        "Blood is at 30 to 60 HU. Contrast agent reaches the aorta first, the portal vein after 60 to 80 s, and fades.",
    ),
    Check(
        "noise",
        "note",
        f"5th to 95th percentile within liver or spleen, as a standard deviation, over {contrast.NOISY_HU:g} HU",
        "Faint lesions differ from the liver by 20 to 40 HU.",
    ),
    Check(
        "not-judged", "note", "a check lacked its classes or enough of the body", "Silence would read as all is well."
    ),
)
"""All codes that `find` gives beside those of the scan (docs/plausibility.md), in the order in which they are told."""
