"""Whether masks agree with themselves and with each other: pieces, overlaps, lesions away from their organ."""

from __future__ import annotations

from collections.abc import Iterator

from umlite.classes import PUBLISHED
from umlite.findings.finding import Finding, Unjudged, joined, readable
from umlite.findings.subject import Subject
from umlite.results.statistics import ClassStatistics

LEAST_LARGEST_SHARE, LEAST_KEPT_SHARE, LEAST_PIECES_ML = 0.9, 0.8, 2.0
MOST_OVERLAP_SHARE, LEAST_OVERLAP_ML = 0.3, 5.0
MOST_HOST_DISTANCE_MM, LEAST_LESION_ML, WHOLE_HOST_SHARE = 10.0, 0.5, 0.9
NESTED = frozenset(
    frozenset(pair)
    for pair in [
        ("liver", "hepatic_vessel"),
        ("liver", "portal_vein_and_splenic_vein"),
        ("liver", "postcava"),
        ("pancreas", "portal_vein_and_splenic_vein"),
        ("aorta", "celiac_trunk"),
    ]
)
"""Vessels that run through an organ, or leave from another vessel."""
_IN_PIECES = ("hepatic_vessel", "portal_vein_and_splenic_vein")
"""Vessels whose branches leave and enter the mask."""
_HOSTS = {c.name: c.hosts for c in PUBLISHED}
_KINDS = {c.name: c.kind for c in PUBLISHED}


def pieces(subject: Subject) -> Iterator[Finding | Unjudged]:
    """Organs whose mask is in pieces."""
    for c in _organs(subject):
        if c.largest_share < LEAST_LARGEST_SHARE:
            name, share = readable(c.name).capitalize(), c.largest_share
            sentence = f"{name} is in {c.components} pieces, the largest with {share:.0%} of it."
            evidence = {"components": c.components, "largest_share": round(share, 3)}
            yield Finding("in-pieces", "warning", sentence, (c.name,), evidence)


def predicted_pieces(subject: Subject) -> Iterator[Finding | Unjudged]:
    """Organs that were in pieces before post-processing kept the largest."""
    kept = {c.name: subject.kept_shares.get(c.name, 1.0) for c in _organs(subject)}
    kept = {name: share for name, share in kept.items() if share < LEAST_KEPT_SHARE}
    if kept:
        told = joined([f"{readable(name)} ({share:.0%} of it)" for name, share in kept.items()])
        yield Finding(
            "predicted-in-pieces",
            "note",
            f"Only the largest piece of the prediction was kept of {told}: volumes may be too small.",
            tuple(kept),
            {"kept_share": {name: round(share, 3) for name, share in kept.items()}},
        )


def overlaps(subject: Subject) -> Iterator[Finding | Unjudged]:
    """Two organs that share more than their border."""
    for overlap in subject.statistics.overlaps:
        one, other = overlap.classes
        if "tumor" in (_KINDS.get(one), _KINDS.get(other)) or frozenset(overlap.classes) in NESTED:
            continue
        if overlap.share > MOST_OVERLAP_SHARE and overlap.volume_ml >= LEAST_OVERLAP_ML:
            yield Finding(
                "overlap",
                "warning",
                f"{readable(one).capitalize()} and {readable(other)} share {overlap.volume_ml:.1f} ml, "
                f"{overlap.share:.0%} of the smaller.",
                overlap.classes,
                {"volume_ml": round(overlap.volume_ml, 2), "share": round(overlap.share, 3)},
            )


def strayed_lesions(subject: Subject) -> Iterator[Finding | Unjudged]:
    """Lesions away from every organ that their class may lie in."""
    for lesion in subject.statistics.lesions:
        hosts = _HOSTS.get(lesion.class_name, ())
        if not hosts or lesion.volume_ml < LEAST_LESION_ML:
            continue
        where = joined([readable(host) for host in hosts]) if len(hosts) == 1 else readable(hosts[0]).split()[-1] + "s"
        if any(subject.kept_shares.get(host, 1.0) < WHOLE_HOST_SHARE for host in hosts):
            yield Unjudged(f"the place of {lesion.id}", f"the mask of the {where} is in pieces")
        elif lesion.host_distance_mm is None:
            if any(host in subject.classes for host in hosts):
                sentence = f"Lesion {lesion.id} ({lesion.volume_ml:.1f} ml) has no organ: no {where} was found."
                yield Finding("lesion-outside", "warning", sentence, (lesion.class_name,), {"lesion": lesion.id})
            else:
                yield Unjudged(f"the place of {lesion.id}", f"{where} was not asked for")
        elif (distance := lesion.host_distance_mm) > MOST_HOST_DISTANCE_MM:
            sentence = f"Lesion {lesion.id} ({lesion.volume_ml:.1f} ml) lies {distance:.0f} mm from the {where}."
            evidence = {"lesion": lesion.id, "distance_mm": round(distance, 1)}
            yield Finding("lesion-outside", "warning", sentence, (lesion.class_name,), evidence)


def _organs(subject: Subject) -> list[ClassStatistics]:
    """Organs that lie in one piece, and of which more than a trace was found."""
    return [
        c
        for c in subject.statistics.classes
        if _KINDS.get(c.name) != "tumor" and c.name not in _IN_PIECES and c.volume_ml >= LEAST_PIECES_ML
    ]
