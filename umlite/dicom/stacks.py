"""The planes of one series, sorted into stacks: one volume each, phases and doubles told apart."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from umlite.dicom.frames import Frame
from umlite.dicom.pixels import stored_bytes
from umlite.dicom.spacing import SAME_MM, Row
from umlite.errors import InputError

_SAME_DIRECTION, _SAME_SPACING = 1e-3, 1e-3
_LEAST_APART, _FAR = 3, 3.0


@dataclass(frozen=True, eq=False)
class Stack:
    """Planes of one size and direction, sorted along their normal.

    part: what tells it from the other stacks of its series, such as "AcquisitionNumber 2"; empty for the only one.
    doubles: planes that were there twice, once left out. problem: why its planes cannot be one volume.
    """

    frames: tuple[Frame, ...]
    part: str = ""
    doubles: int = 0
    problem: str = ""


def stacks_of(frames: Sequence[Frame]) -> list[Stack]:
    """Sort the planes of a series. The order of `frames` does not matter to the result's stacks, nor do file names."""
    stacks = []
    for alike in _by_geometry(frames):
        once, doubles = _without_copies(sorted(alike, key=lambda f: (_along(f, alike[0]), f.number, f.name)))
        parts = _parts(once)
        for part, members in parts:
            left, more, problem = _one_each(members)
            stacks.append(Stack(tuple(left), part, more + (doubles if len(parts) == 1 else 0), problem))
    return stacks


def _by_geometry(frames: Sequence[Frame]) -> list[list[Frame]]:
    groups: list[list[Frame]] = []
    for frame in frames:
        for group in groups:
            if _is_alike(frame, group[0]):
                group.append(frame)
                break
        else:
            groups.append([frame])
    return groups


def _is_alike(a: Frame, b: Frame) -> bool:
    return (
        (a.pixels.rows, a.pixels.columns) == (b.pixels.rows, b.pixels.columns)
        and float(np.abs(a.row - b.row).max()) <= _SAME_DIRECTION
        and float(np.abs(a.column - b.column).max()) <= _SAME_DIRECTION
        and bool(np.allclose(a.spacing_mm, b.spacing_mm, rtol=_SAME_SPACING))
        and ("LOCALIZER" in a.keys.get("ImageType", "")) == ("LOCALIZER" in b.keys.get("ImageType", ""))
    )


def _along(frame: Frame, first: Frame) -> float:
    return float(frame.position @ first.normal)


def _without_copies(frames: Sequence[Frame]) -> tuple[list[Frame], int]:
    """Without planes that repeat another of one instance UID and place, pixel for pixel: files that were copied."""
    seen: dict[tuple[str, int, float], Frame] = {}
    kept = []
    for frame in frames:
        key = (frame.header.instance_uid, frame.index, round(_along(frame, frames[0]), 2))
        first = seen.setdefault(key, frame)
        if first is frame or not frame.header.instance_uid or _content(first) != _content(frame):
            kept.append(frame)
    return kept, len(frames) - len(kept)


def _content(frame: Frame) -> bytes:
    """What a plane holds, to compare it; its name where that cannot be read, so that it equals no other."""
    try:
        return stored_bytes(frame)
    except InputError:
        return frame.name.encode(errors="replace")


def _parts(frames: list[Frame]) -> list[tuple[str, list[Frame]]]:
    """Phases or stacks, with what tells them apart; the whole where it is one."""
    if len(frames) < 2:
        return [("", frames)]
    repeats = _repeats(frames)
    whole = None if repeats else Row.of(frames)
    for key in frames[0].keys:
        values = [frame.keys.get(key, "") for frame in frames]
        distinct = sorted(set(values), key=lambda value: (len(value), value))
        parts = [[f for f, value in zip(frames, values, strict=True) if value == one] for one in distinct]
        if len(distinct) < 2 or min(map(len, parts)) < 2 or any(map(_repeats, parts)):
            continue
        if whole is None or (all(map(_is_one, parts)) and (_is_mixed(values) or _is_apart(key, parts, whole))):
            return [(f"{key} {value}".strip(), part) for value, part in zip(distinct, parts, strict=True)]
    return _rounds(frames) if repeats else [("", frames)]


def _is_one(frames: Sequence[Frame]) -> bool:
    row = Row.of(frames)
    return row.is_even and row.is_straight


def _is_mixed(values: Sequence[str]) -> bool:
    """Whether planes of different values take turns along the normal."""
    return sum(a != b for a, b in itertools.pairwise(values)) >= len(set(values))


def _is_apart(key: str, parts: Sequence[Sequence[Frame]], whole: Row) -> bool:
    """Whether parts that follow each other are no one stack: beside each other, or far from each other."""
    if key.endswith("Time") or min(map(len, parts)) < _LEAST_APART:
        return False
    return not whole.is_straight or float(whole.gaps_mm.max()) > _FAR * max(Row.of(part).usual_mm for part in parts)


def _repeats(frames: Sequence[Frame]) -> bool:
    return any(_gap(a, b) < SAME_MM for a, b in itertools.pairwise(frames))


def _gap(a: Frame, b: Frame) -> float:
    return abs(_along(b, a) - _along(a, a))


def _rounds(frames: list[Frame]) -> list[tuple[str, list[Frame]]]:
    """Where all places have as many planes and only numbers tell these apart: the first ones, the second ones, ..."""
    places = _places(frames)
    count = len(places[0])
    numbers = [[frame.number for frame in place] for place in places]
    rounds = [[place[i] for place in places if i < len(place)] for i in range(count)]
    ends = [(min(column), max(column)) for column in zip(*numbers, strict=False)]
    in_order = all(a[1] < b[0] for a, b in itertools.pairwise(ends))
    if len(places) < 2 or any(len(place) != count for place in places) or not in_order:
        return [("", frames)]
    return [(f"round {i + 1}", members) for i, members in enumerate(rounds)]


def _places(frames: Sequence[Frame]) -> list[list[Frame]]:
    places: list[list[Frame]] = []
    for frame in frames:
        if places and _gap(places[-1][0], frame) < SAME_MM:
            places[-1].append(frame)
        else:
            places.append([frame])
    return places


def _one_each(frames: list[Frame]) -> tuple[list[Frame], int, str]:
    """One plane a place: the planes, how many equal ones were left out, and the problem where others differ."""
    places = _places(frames)
    if len(places) == len(frames):
        return frames, 0, ""
    different = sum(1 for place in places if len(place) > 1 and len({_content(frame) for frame in place}) > 1)
    if different:
        problem = f"at {different} of its {len(places)} places lie several slices that nothing tells apart"
        return [place[0] for place in places], len(frames) - len(places), problem
    return [place[0] for place in places], len(frames) - len(places), ""
