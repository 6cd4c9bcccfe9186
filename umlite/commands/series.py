"""`umlite series`: what a folder, an archive or some files hold, before anything is segmented."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umlite.commands.options import JsonOption, path_argument
from umlite.commands.reporting import reported
from umlite.errors import InputError
from umlite.terminal import show, show_json, show_table, tell

if TYPE_CHECKING:
    from umlite.dicom.finding import Found
    from umlite.dicom.series import Series

_MOST_NAMES = 3


def series(
    paths: Annotated[list[Path], path_argument(metavar="PATH", help="Folders, zip archives or DICOM files.")],
    patients: Annotated[bool, typer.Option("--patients", help="Show names and IDs of patients too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List DICOM series, and which of them `umlite segment` takes."""
    with reported(as_json):
        from umlite.dicom.finding import find_series

        found = find_series(paths)
        if not found.series:
            found.choose()  # says why there is none
        if as_json:
            show_json(
                {
                    "series": [_as_dict(one, patients) for one in found.series],
                    "foreign": list(found.foreign),
                    "damaged": list(found.damaged),
                }
            )
        else:
            _show(found, patients)


@dataclass(frozen=True, eq=False)
class Sources:
    """What `umlite segment` was given, with series in place of their files.

    scans: a name per scan, as for files. series: of the names that stand for one. roots: of scans found in a folder.
    """

    scans: list[Path]
    series: dict[Path, Series]
    roots: dict[Path, Path]


def with_series(
    paths: Sequence[Path],
    wanted: str | None,
    *,
    fill_gaps: bool,
    roots: Mapping[Path, Path] = MappingProxyType({}),
) -> Sources:
    """Replace folders, archives and DICOM files by the series to segment; say what was passed over.

    Files that are named one by one are searched together, since a series may lie in all of them. A path among several
    that holds nothing to segment stays, and fails alone; a folder without DICOM that was found in another is left out.
    Raises as `find_series` and `Found.choose` do.
    """
    from umlite.dicom.finding import find_series

    files = [path for path in paths if path not in roots and not os.path.isdir(path) and _is_dicom(path)]
    members = set(files)
    archives = {path for path in roots if path.suffix.lower() == ".zip" and _is_dicom(path)}
    sources = Sources([], {}, {})
    for path in paths:
        if path in members and path != files[0]:
            continue
        group = files if path in members else [path]
        if path not in members and path not in archives and not os.path.isdir(path):
            _add(sources, path, None, roots.get(path))
            continue
        try:
            found = find_series(group)
            if path in roots and not found.series and not found.damaged:
                continue
            chosen = found.choose(wanted, fill_gaps=fill_gaps)
        except InputError:
            if len(paths) == len(group) and path not in roots:
                raise
            _add(sources, path, None, roots.get(path))
            continue
        _tell_left(found, chosen)
        for place, one in zip(_places(path, chosen), chosen, strict=True):
            root = roots.get(path, path if place.is_relative_to(path) and len(chosen) > 1 else None)
            _add(sources, place, one, root)
    return sources


def _add(sources: Sources, scan: Path, series: Series | None, root: Path | None) -> None:
    sources.scans.append(scan)
    if series is not None:
        sources.series[scan] = series
    if root is not None:
        sources.roots[scan] = root


def _places(path: Path, chosen: Sequence[Series]) -> list[Path]:
    """A name for each series: of the one that was chosen, its source's; else those of folders, if they differ."""
    if len(chosen) == 1:
        return [chosen[0].path.parent / chosen[0].name]
    folders = [_folder_of(one) for one in chosen]
    if os.path.isdir(path) and None not in folders and len(set(folders)) == len(folders):
        return [folder for folder in folders if folder is not None]
    return [one.path.parent / f"{one.name}_series{one.number}" for one in chosen]


def _folder_of(one: Series) -> Path | None:
    """The folder of all files of a series, if they have one and are no members of an archive."""
    parents = {getattr(frame.header.source, "path", Path()).parent for frame in one.frames}
    return parents.pop() if len(parents) == 1 else None


def _is_dicom(path: Path) -> bool:
    """Whether a file is DICOM. One that cannot be read is not: it fails when its turn comes, and alone."""
    from umlite.dicom.finding import is_dicom_path

    with contextlib.suppress(InputError):
        return is_dicom_path(path)
    return False


def _tell_left(found: Found, chosen: Sequence[Series]) -> None:
    numbers = {one.number for one in chosen}
    for one in found.series:
        if one.number not in numbers:
            tell(f"Note: series {one.number} ({_brief(one)}) was passed over: {one.reason or 'it was not chosen'}.")
    if found.foreign:
        tell(f"Note: {_names(found.foreign)} not DICOM.")


def _show(found: Found, patients: bool) -> None:
    columns = ["", "modality", "description", "slices", "spacing (mm)", "orientation", "date", "taken"]
    rows = []
    for one in found.series:
        spacing = " x ".join(f"{mm:.3g}" for mm in one.spacing_mm) if one.spacing_mm else ""
        description = ", ".join(filter(None, (one.about.description, one.stack.part if one.stack else "")))
        taken = f"no: {one.reason}" if one.reason else "yes"
        row = [str(one.number), one.about.modality, description, str(len(one.frames) or ""), spacing]
        row += [one.orientation, one.about.date, taken]
        rows.append([*row, one.about.patient_name, one.about.patient_id] if patients else row)
    show_table([*columns, "patient", "ID"] if patients else columns, rows, right=(0, 3))
    for one in found.series:
        show(f"{one.number}: {one.about.uid}{' (made, since its files name none)' if one.about.is_made else ''}")
    for sentence in found.damaged:
        tell(f"Warning: {sentence}")
    if found.foreign:
        tell(f"Note: {_names(found.foreign)} not DICOM.")


def _as_dict(one: Series, patients: bool) -> dict[str, Any]:
    about = one.about
    data = {
        "number": one.number,
        "uid": about.uid,
        "uid_made": about.is_made,
        "study_uid": about.study_uid,
        "modality": about.modality,
        "kind": about.kind,
        "description": about.description,
        "part": one.stack.part if one.stack else "",
        "slices": len(one.frames),
        "files": one.files,
        "spacing_mm": one.spacing_mm,
        "orientation": one.orientation,
        "date": about.date,
        "taken": not one.reason,
        "reason": one.reason,
        "left_out": list(one.left_out),
    }
    return {**data, "patient_name": about.patient_name, "patient_id": about.patient_id} if patients else data


def _brief(one: Series) -> str:
    return ", ".join(filter(None, (one.about.modality, one.about.description))) or one.about.kind or "without a name"


def _names(names: Sequence[str]) -> str:
    told = ", ".join(names[:_MOST_NAMES])
    if len(names) > _MOST_NAMES:
        return f"{told} and {len(names) - _MOST_NAMES} more are"
    return f"{told} {'is' if len(names) == 1 else 'are'}"
