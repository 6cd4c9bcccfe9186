"""Files that go where the user says: one file for one scan, or a folder with one file per scan."""

from __future__ import annotations

import os
from pathlib import Path

from umlite.errors import RequestError
from umlite.files import output_path
from umlite.products.place import Place

OTHER_FORMATS = (
    *(".nrrd", ".nhdr", ".mha", ".mhd", ".mgz", ".mgh", ".mnc", ".hdr", ".img", ".hdr.gz", ".img.gz", ".gipl"),
    *(".nii.bz2", ".nii.xz", ".nii.zst", ".nii.zip", ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z"),
    *(".rar", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".npy", ".npz", ".h5", ".hdf5", ".mat"),
    *(".vtk", ".vti", ".stl", ".glb", ".json", ".jsonl", ".csv", ".txt", ".pdf", ".svg", ".webp", ".htm", ".html"),
)
"""Endings of files that an output is not written as: a folder of such a name would surprise."""


def given_path(where: str, place: Place, ending: str) -> Path:
    """The file of a scan: `where` if it has the ending, else NAME and the ending in the folder `where`."""
    path = output_path(where)
    return path if path.name.lower().endswith(ending) else path / f"{place.name}{ending}"


def check_given(where: str | None, ending: str, option: str, scans: int) -> None:
    """Raise RequestError for an empty name, that of another file, or one for several scans. option: whose value."""
    if where is None:
        return
    if not where:
        raise RequestError(
            f"The {option} has no name: expected a file that ends in {ending}, or a folder.", about=option
        )
    path = output_path(where)
    is_file = path.name.lower().endswith((*OTHER_FORMATS, ".nii", ".dcm", ".safetensors")) or os.path.isfile(path)
    if is_file and not path.name.lower().endswith(ending) and not os.path.isdir(path):
        raise RequestError(
            f"Cannot write the {option} to {where}: expected a file that ends in {ending}, or a folder.", about=option
        )
    if scans > 1 and where.lower().endswith(ending):
        raise RequestError(
            f"{scans} scans cannot share the one file {where}. Name a folder; it gets a file per scan.", about=option
        )
