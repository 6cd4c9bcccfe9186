"""The scans of a run, and the place of each result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
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
    """

    scan: Path
    place: Place
    series: Series | None = None
    format: str = MASKS.name
    request: Request | None = None

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
    notify: Notify = no_notice,
) -> list[Job]:
    """One job per scan, no two with the same output. Names tell scans apart: links to one file are several scans.

    Args:
        scans: files in the order in which they are to run; one that is named twice is done once.
        output: of one name: its folder, or its file if it ends like one of the format. Of several names: a folder with
            one entry per scan, named after it. None: NAME_segmentation, with the format's ending, in this folder.
        chosen: the format of the masks.
        layout: of the folders, which `umlite.products.layout` describes.
        notify: gets a sentence about a scan that is named twice.

    Raises:
        RequestError: `output` is one file and the names are several, or a layout has one place for two scans.
    """
    distinct = _distinct_scans(scans, notify)
    names = _distinct_names(distinct if layout == FLAT else [case_of(scan) for scan in distinct])
    if layout != FLAT:
        places = lay_out(layout, distinct, names, output, chosen.ending)
        return [Job(scan, place) for scan, place in zip(distinct, places, strict=True)]
    one_file = output is not None and output.name.lower().endswith(chosen.endings)
    if one_file and len(scans) > 1:
        raise RequestError(
            f"{len(scans)} scans cannot share the one file {output}. Choose a folder; it can hold one file per scan.",
            about=("output", "format"),
        )
    if output is not None and one_file:
        return [Job(distinct[0], Place(output, False, names[0], with_manifest=False), format=chosen.name)]
    if output is not None and len(scans) == 1 and chosen.is_folder:
        return [Job(distinct[0], Place(output, True, names[0]), format=chosen.name)]
    mains = [f"{name}_segmentation" if output is None else output / name for name in names]
    return [
        Job(scan, Place(Path(f"{main}{chosen.ending}"), chosen.is_folder, name), format=chosen.name)
        for scan, name, main in zip(distinct, names, mains, strict=True)
    ]


def _distinct_scans(scans: Sequence[Path], notify: Notify) -> list[Path]:
    distinct: dict[str, Path] = {}
    for scan in scans:
        name = os.path.abspath(scan)
        if name in distinct:
            notify(f"{scan} is given more than once and segmented once.")
        distinct.setdefault(name, scan)
    return list(distinct.values())


def _distinct_names(scans: Sequence[Path]) -> list[str]:
    """One name per scan: that of its file, preceded by as many parent folders as make all names distinct.

    Names that differ only in letter case are not distinct, since some file systems ignore it.
    """
    parts = [[*Path(os.path.abspath(scan)).parent.parts[1:], _file_name(scan)] for scan in scans]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["_".join(p[-depth:]) for p in parts]
        if len({name.lower() for name in names}) == len(names):
            return names
    return [f"{name}_{number}" for number, name in enumerate(names, start=1)]


def _file_name(scan: Path) -> str:
    """The scan's name, or "scan" if it cannot name a file (such as `...nii.gz`)."""
    name = scan_name(scan)
    return name if name.strip(". ") else "scan"
