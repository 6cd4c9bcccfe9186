"""The scans of a run, and the place of each result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from umlite.errors import RequestError
from umlite.progress import Notify, no_notice
from umlite.results.writing import is_label_map
from umlite.volume.reading import scan_name

if TYPE_CHECKING:
    from umlite.dicom.series import Series


OTHER_FORMATS = (
    *(".nrrd", ".nhdr", ".mha", ".mhd", ".mgz", ".mgh", ".mnc", ".dcm", ".hdr", ".img", ".hdr.gz", ".img.gz", ".gipl"),
    *(".nii.bz2", ".nii.xz", ".nii.zst", ".nii.zip", ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z"),
    *(".rar", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".npy", ".npz", ".h5", ".hdf5", ".mat"),
    *(".vtk", ".vti", ".stl", ".json", ".csv", ".pdf"),
)
"""Endings of files that are not written here: a folder of such a name would surprise."""


@dataclass(frozen=True)
class Job:
    """A scan and where its result goes.

    Args:
        scan: the file, under the name that was given.
        output: a label map's file, or a folder of masks.
        label_map: which of the two.
        series: the DICOM that the name stands for; None for a file.
    """

    scan: Path
    output: Path
    label_map: bool = False
    series: Series | None = None

    @property
    def home(self) -> Path:
        """The folder that holds all files of the result, directly or in folders."""
        return self.output.parent if self.label_map else self.output

    @property
    def probability_folder(self) -> Path:
        """Folder for probabilities: that of the masks, or NAME_probabilities beside the label map NAME.nii.gz."""
        return self.output.with_name(f"{scan_name(self.output)}_probabilities") if self.label_map else self.output


def lay_out_jobs(
    scans: Sequence[Path], output: Path | None, *, label_map: bool = False, notify: Notify = no_notice
) -> list[Job]:
    """One job per scan, no two with the same output. Names tell scans apart: links to one file are several scans.

    Args:
        scans: files in the order in which they are to run; one that is named twice is done once.
        output: of one name: its folder, or its label map if this ends in .nii or .nii.gz. Of several names: a folder
            with one entry per scan, named after it. None: NAME_segmentation (or NAME_segmentation.nii.gz) in this
            folder.
        label_map: one file per scan in place of a folder of masks.
        notify: gets a sentence about a scan that is named twice.

    Raises:
        RequestError: `output` is one file and the names are several, or it ends like a file that is not written here.
    """
    if output is not None:
        _check_ending(output)
    distinct = _distinct_scans(scans, notify)
    names = _distinct_names(distinct)
    one_file = output is not None and is_label_map(output)
    if one_file and len(scans) > 1:
        raise RequestError(
            f"{len(scans)} scans cannot share the one file {output}. Choose a folder; it can hold one label map per "
            "scan.",
            about=("output", "label_map"),
        )
    ending = ".nii.gz" if label_map else ""
    if output is None:
        return [
            Job(scan, Path(f"{n}_segmentation{ending}"), label_map) for scan, n in zip(distinct, names, strict=True)
        ]
    if one_file or (len(scans) == 1 and not label_map):
        return [Job(distinct[0], output, one_file)]
    return [Job(scan, output / f"{name}{ending}", label_map) for scan, name in zip(distinct, names, strict=True)]


def _check_ending(output: Path) -> None:
    """Raise RequestError for a name that asks for a format other than NIfTI, unless it is a folder's already."""
    ending = next((ending for ending in OTHER_FORMATS if output.name.lower().endswith(ending)), None)
    if ending and not is_label_map(output) and not os.path.isdir(output):
        raise RequestError(
            f"Cannot write {output}: expected a folder, or a label map that ends in .nii.gz or .nii, found a name that "
            f"ends in {ending}.",
            about="output",
        )


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
