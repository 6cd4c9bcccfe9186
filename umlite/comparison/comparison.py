"""Comparison of two results of one patient: organs side by side, and what became of every lesion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from umlite.comparison.alignment import Pair, Rigid, align, residual_mm, within_organ
from umlite.comparison.matching import Group, Lesions, match
from umlite.comparison.side import Organ, Result, Side, Spot
from umlite.comparison.verdicts import Change, Size, judge, percent, sizes_side_by_side, thresholds
from umlite.errors import RequestError
from umlite.evaluation.naming import read_names, requested_names
from umlite.evaluation.tolerances import is_lesion

_FAR_MM = 5.0
"""A fit of organs that is worse than this is not trusted without a word."""


@dataclass(frozen=True)
class ComparisonOptions:
    """What is compared.

    Args:
        classes: names, aliases or groups; None for all that both results have. Alignment uses all organs anyway.
        names: of the labels of label maps without names: a JSON file or "published"; see `naming.read_names`.
        scans: the CTs of both results, for HU; None where there is none.
    """

    classes: tuple[str, ...] | None = None
    names: str | Path | None = None
    scans: tuple[Path | None, Path | None] = (None, None)


@dataclass(frozen=True, eq=False)
class Alignment:
    """How the second scan lies to the first one.

    Args:
        organs: those that it rests on; empty where none was in both, and coordinates are taken as they are.
        movement: from places of the first scan to those of the second one.
        residual_mm: how far the organs' surfaces still are apart; None without organs.
    """

    organs: tuple[str, ...]
    movement: Rigid
    residual_mm: float | None

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "organs": list(self.organs),
            "matrix": [[round(n, 6) for n in row] for row in self.movement.matrix.tolist()],
            "rotation_deg": round(self.movement.angle_deg, 3),
            "residual_mm": None if self.residual_mm is None else round(self.residual_mm, 3),
        }


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a comparison found.

    Args:
        paths: of both results.
        alignment: of the second scan to the first one.
        organs: of both scans, in the first one's order.
        changes: what became of every lesion, class by class, the first scan's largest first, then new ones.
        warnings: sentences about what was left out or may be wrong.
    """

    paths: tuple[Path, Path]
    alignment: Alignment
    organs: tuple[tuple[Organ, Organ], ...]
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]

    def burdens(self) -> dict[str, tuple[Size, Size]]:
        """Sums over all lesions of each class, in both scans; lesions outside the other scan count for nothing."""
        found: dict[str, list[Change]] = {}
        for change in self.changes:
            rows = found.setdefault(change.class_name, [])
            if not change.verdict.startswith("out_of_view"):
                rows.append(change)
        sides = {
            name: ([s for c in rows for s in c.ours], [s for c in rows for s in c.theirs])
            for name, rows in found.items()
        }
        return {name: (Size.of(ours), Size.of(theirs)) for name, (ours, theirs) in sides.items()}

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "a": str(self.paths[0]),
            "b": str(self.paths[1]),
            "alignment": self.alignment.to_dict(),
            "thresholds": thresholds(),
            "organs": [
                {"name": one.name, "a": one.to_dict(), "b": two.to_dict(), **_organ_change(one, two)}
                for one, two in self.organs
            ],
            "lesions": [change.to_dict() for change in self.changes],
            "sums": [{"class_name": n, **sizes_side_by_side(*sizes)} for n, sizes in self.burdens().items()],
            "warnings": list(self.warnings),
        }


def compare(first: Path, second: Path, options: ComparisonOptions | None = None) -> Comparison:
    """Compare two results of one patient, the earlier one first.

    Args:
        first, second: a folder of masks or a label map each; see `umlite.evaluation.cases.find_cases`.
        options: what is compared.

    Raises:
        RequestError: a path that is no single result, or no class that both have.
        InputError: masks or scans that cannot be read, or that lie on different grids.
    """
    options = options or ComparisonOptions()
    names = None if options.names is None else read_names(options.names)
    results = [Result(path, names, scan) for path, scan in zip((first, second), options.scans, strict=True)]
    chosen, warnings = _chosen(results, options.classes)
    guides = [name for name in results[0].names if name in results[1].names and not is_lesion(name)]
    one, two = (result.measure(tuple(dict.fromkeys([*chosen, *guides]))) for result in results)
    pairs = _pairs(one, two)
    movement = align(list(pairs.values())) if pairs else Rigid.none()
    alignment = Alignment(tuple(pairs), movement, residual_mm(list(pairs.values()), movement) if pairs else None)
    warnings += _doubts(alignment)
    hosts = {spot.host for side in (one, two) for spots in side.spots.values() for spot in spots if spot.host in pairs}
    local = {host: within_organ(pairs[host], movement) for host in hosts if host is not None}
    changes = [
        change
        for name in chosen
        if is_lesion(name)
        for change in _changes(
            name, _lesions(name, one, movement, local, back=False), _lesions(name, two, movement, local, back=True)
        )
    ]
    organs = tuple((one.organs[name], two.organs[name]) for name in chosen if name in one.organs)
    return Comparison((first, second), alignment, organs, tuple(changes), tuple(warnings))


def _chosen(results: Sequence[Result], asked: tuple[str, ...] | None) -> tuple[list[str], list[str]]:
    """Classes to compare, and sentences about those that one result lacks."""
    one, two = results
    wanted = tuple(dict.fromkeys([*one.names, *two.names])) if asked is None else requested_names(asked)
    chosen = [name for name in wanted if name in one.names and name in two.names]
    if not chosen:
        which = f" that was asked for ({', '.join(asked[:5])})" if asked else ""
        raise RequestError(
            f"{one.path} and {two.path} have no class in common{which}: expected the same names of "
            f"classes, found {', '.join(list(one.names)[:40])}. Check the names.",
            about=("classes", "names"),
        )
    warnings = []
    for result in results:
        missing = [name for name in wanted if name not in result.names]
        if missing:
            warnings.append(f"{result.path} has no mask of {', '.join(missing)}: left out.")
    return chosen, warnings


def _pairs(one: Side, two: Side) -> dict[str, Pair]:
    """Organs that both scans show."""
    found = {}
    for name, organ in one.organs.items():
        ours, theirs = organ.landmark, two.organs[name].landmark
        if ours is not None and theirs is not None:
            found[name] = (ours, theirs)
    return found


def _doubts(alignment: Alignment) -> list[str]:
    if alignment.residual_mm is None:
        return [
            "No organ is in both results, so lesions are matched by their coordinates as the scans state them. "
            "Segment the organs around them too."
        ]
    if alignment.residual_mm > _FAR_MM:
        return [
            f"The organs fit badly ({alignment.residual_mm:.1f} mm apart): these may be two patients, or the masks may "
            "be wrong. Check the matches of lesions."
        ]
    return []


def _lesions(name: str, side: Side, movement: Rigid, local: dict[str, Rigid], *, back: bool) -> Lesions:
    spots = side.spots[name]
    ways = [local.get(spot.host or "", movement) for spot in spots]
    return Lesions(spots, side.grid, [way.inverse if back else way for way in ways])


def _changes(name: str, ours: Lesions, theirs: Lesions) -> list[Change]:
    return [_change(name, group, ours, theirs) for group in match(ours, theirs)]


def _change(name: str, group: Group, ours: Lesions, theirs: Lesions) -> Change:
    one, two = tuple(ours.spots[i] for i in group.ours), tuple(theirs.spots[j] for j in group.theirs)
    in_view, distance = True, None
    if not two:
        in_view = ours.in_view_of(theirs, group.ours[0])
    elif not one:
        in_view = theirs.in_view_of(ours, group.theirs[0])
    else:
        moved = [ours.aligned(i, np.array(ours.spots[i].centroid_mm)) for i in group.ours]
        distance = float(np.linalg.norm(_centre(one, moved) - _centre(two, [np.array(s.centroid_mm) for s in two])))
    return Change(name, judge(one, two, in_view=in_view), one, two, distance)


def _centre(spots: Sequence[Spot], places: Sequence[np.ndarray]) -> np.ndarray:
    return np.average(places, axis=0, weights=[spot.volume_ml for spot in spots])


def _organ_change(one: Organ, two: Organ) -> dict[str, float | None]:
    share = percent(one.volume_ml, two.volume_ml) if one.volume_ml and two.volume_ml else None
    return {
        "volume_change_ml": round(two.volume_ml - one.volume_ml, 4),
        "volume_change_percent": None if share is None else round(share, 2),
    }
