"""The scans of a run, and the place of each result."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from umlite.errors import RequestError
from umlite.products.formats import MASKS, Format
from umlite.products.layout import FLAT, case_of, lay_out
from umlite.products.place import Place
from umlite.progress import Notify, no_notice
from umlite.volume.reading import scan_name

if TYPE_CHECKING:
    from umlite.dicom.series import Series
    from umlite.request import Request


@dataclass(frozen=True)
class Job:
    """A scan and where its result goes.

    Args:
        scan: the file, under the name that was given.
        place: of the result.
        series: the DICOM that the name stands for; None for a file.
        format: name of the masks' format.
        request: what is asked of this scan; None for what is asked of all.
        asked_series: which DICOM series was asked for, in words of the user; None for the default.
        fill_gaps: whether missing DICOM slices were to be interpolated.
    """

    scan: Path
    place: Place
    series: Series | None = None
    format: str = MASKS.name
    request: Request | None = None
    asked_series: str | None = None
    fill_gaps: bool = False

    @property
    def output(self) -> Path:
        """The folder or file of the result."""
        return self.place.main


def lay_out_jobs(
    scans: Sequence[Path],
    output: Path | None,
    chosen: Format = MASKS,
    *,
    layout: str = FLAT,
    roots: Mapping[Path, Path] = MappingProxyType({}),
    notify: Notify = no_notice,
) -> list[Job]:
    """One job per scan, no two with the same output. Names tell scans apart: links to one file are several scans.

    The results of scans that were found in a folder mirror that folder, and so do they if it holds only one.

    Args:
        scans: files in the order in which they are to run; one that is named twice is done once.
        output: of one name: its folder, or its file if it ends like one of the format. Of several names: a folder with
            one entry per scan, named after it. None: NAME_segmentation, with the format's ending, in this folder.
        chosen: the format of the masks.
        layout: of the folders, which `umlite.products.layout` describes.
        roots: of scans that were found in a folder: that folder.
        notify: gets a sentence about a scan that is named twice.

    Raises:
        RequestError: `output` is one file and the names are several, or a layout has one place for two scans.
    """
    distinct = _distinct_scans(scans, notify)
    if layout != FLAT:
        names = _distinct_names([case_of(scan) for scan in distinct])
        places = lay_out(layout, distinct, names, output, chosen.ending)
        return [Job(scan, place, format=chosen.name) for scan, place in zip(distinct, places, strict=True)]
    paths = _distinct_names(distinct, roots)
    names = _flat(paths)
    one_file = output is not None and output.name.lower().endswith(chosen.endings)
    if one_file and len(scans) > 1:
        raise RequestError(
            f"{len(scans)} scans cannot share the one file {output}. Choose a folder; it can hold one file per scan.",
            about=("output", "format"),
        )
    if output is not None and one_file:
        return [Job(distinct[0], Place(output, False, names[0], with_manifest=False), format=chosen.name)]
    if output is not None and len(scans) == 1 and chosen.is_folder and not roots:
        return [Job(distinct[0], Place(output, True, names[0]), format=chosen.name)]
    if output is None:
        mains = [_beside(path, roots.get(scan)) for scan, path in zip(distinct, paths, strict=True)]
    else:
        mains = [str(output / path) for path in paths]
    return [
        Job(scan, Place(Path(f"{main}{chosen.ending}"), chosen.is_folder, name), format=chosen.name)
        for scan, name, main in zip(distinct, names, mains, strict=True)
    ]


def _beside(path: str, root: Path | None) -> str:
    """Where a result goes if nothing is said: NAME_segmentation, or a folder called so after the scan's root."""
    return f"{path}_segmentation" if root is None else f"{Path(os.path.abspath(root)).name}_segmentation/{path}"


def _distinct_scans(scans: Sequence[Path], notify: Notify) -> list[Path]:
    distinct: dict[str, Path] = {}
    for scan in scans:
        name = os.path.abspath(scan)
        if name in distinct:
            notify(f"{scan} is given more than once and segmented once.")
        distinct.setdefault(name, scan)
    return list(distinct.values())


def _distinct_names(scans: Sequence[Path], roots: Mapping[Path, Path] = MappingProxyType({})) -> list[str]:
    """One name per scan: that of its file, preceded by as many parent folders as make all names distinct.

    A scan with a root has the folders between them before its name, and further ones where those do not tell it apart.
    Names that differ only in letter case are not distinct, since some file systems ignore it.
    """
    for name_of in (_file_name, _whole_name):
        parts = [_parts(scan, roots.get(scan), name_of(scan)) for scan in scans]
        for depth in range(max(len(outer) for outer, _, _ in parts) + 1):
            names = [inside.join([*outer[len(outer) - depth :], rest]) for outer, inside, rest in parts]
            if len({name.lower() for name in names}) == len(names):
                return names
    return [f"{name}_{number}" for number, name in enumerate(names, start=1)]


def _parts(scan: Path, root: Path | None, name: str) -> tuple[tuple[str, ...], str, str]:
    """Folders that may precede a scan's name, what joins them, and the name with the folders that must precede it."""
    parents = Path(os.path.abspath(scan)).parent.parts[1:]
    if root is None:
        return parents, "_", name
    outer = Path(os.path.abspath(root)).parts[1:]
    return outer, "/", "/".join([*parents[len(outer) :], name])


def _flat(paths: Sequence[str]) -> list[str]:
    """Names without folders, as distinct as the paths."""
    for joint in ("_", "__"):
        names = [path.replace("/", joint) for path in paths]
        if len({name.lower() for name in names}) == len(names):
            return names
    return [f"{name}_{number}" for number, name in enumerate(names, start=1)]


def _file_name(scan: Path) -> str:
    """The scan's name, or "scan" if it cannot name a file (such as `...nii.gz`)."""
    name = scan_name(scan)
    return name if name.strip(". ") else "scan"


def _whole_name(scan: Path) -> str:
    """The scan's name with its ending, which tells `ct.nii` from `ct.nii.gz`."""
    return f"{_file_name(scan)}{scan.name[len(scan_name(scan)) :].replace('.', '_')}"
