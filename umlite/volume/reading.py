"""Scans in: whatever was given becomes a `Scan`, HU with an affine, or an error that says what to mend."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.spatialimages import SpatialImage

from umlite.errors import InputError
from umlite.files import expanded
from umlite.volume.forms import Forms
from umlite.volume.geometry import Grid, spacing_of
from umlite.volume.header import Header, describe, describe_image
from umlite.volume.images import unchanged_file, voxels_of_image
from umlite.volume.nifti import open_nifti
from umlite.volume.nrrd import is_nrrd, open_nrrd
from umlite.volume.plausibility import ScanFinding, check_geometry, check_values
from umlite.volume.unpacking import Notify, reading
from umlite.volume.voxels import Stored, Voxels, file_voxels, planes_of

_SUFFIXES = (".nii.gz", ".hdr.gz", ".img.gz", ".nii", ".hdr", ".img", ".nrrd", ".nhdr")

RESULT_MARK = b"umlite"
"""Description in the header of every NIfTI file that umlite writes."""


@dataclass(frozen=True, eq=False)
class Scan:
    """One CT scan as it was stored, whatever its format.

    voxels: [X, Y, Z] in HU, axes as stored. Large ones stay in their file.
    affine: float64 [4, 4], voxel index -> RAS mm.
    forms: how NIfTI files on the scan's grid state its place.
    stored_bytes: of a voxel in its file.
    name: file name without its suffixes; "image" for an image without a file.
    path: None for an image without a file.
    warnings: one sentence each.
    findings: those of the warnings that have codes: oddities of a DICOM series, implausible sizes and values.
    """

    voxels: Voxels
    affine: np.ndarray
    forms: Forms
    stored_bytes: int
    name: str
    path: Path | None
    warnings: tuple[str, ...]
    findings: tuple[ScanFinding, ...] = ()

    @property
    def hu(self) -> np.ndarray:
        """All voxels as one array. Where they are not held it is read anew: raises InputError where that fails now."""
        return self.voxels.whole()

    def slabs(self, planes: int | None = None) -> Iterator[np.ndarray]:
        """All voxels, `planes` planes of the last axis at a time, by default as many as fill a few MiB.

        Raises InputError where they are read anew and that fails now.
        """
        return self.voxels.slabs(planes or planes_of(self.shape, self.voxels.dtype))

    @property
    def is_held(self) -> bool:
        """Whether the voxels are in memory."""
        return self.voxels.is_held

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.voxels.shape

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        x, y, z = spacing_of(self.affine)
        return float(x), float(y), float(z)

    @property
    def voxel_volume_ml(self) -> float:
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000


def read_scan(source: str | os.PathLike[str] | SpatialImage, *, force_geometry: bool = False) -> Scan:
    """Read a 3-D CT scan from a NIfTI file (.nii, .nii.gz, .hdr/.img), an NRRD file or a nibabel image.

    What a file is its content decides, not its name. An image that was loaded from a file and not changed since is read
    from that file. One in memory that already is int16 or float32 HU shares its memory with the result. A large file is
    read and checked, not held.

    Args:
        source: a path, or an image of nibabel.
        force_geometry: read a scan whose size in mm no body has, with a warning in place of the error.

    Raises:
        GeometryError: no body has this size; told before any voxel is read.
        InputError: this is not one readable volume of finite numbers in a known place.
    """
    return scan_of(_open(source), force_geometry=force_geometry)


def header_of(source: str | os.PathLike[str] | SpatialImage) -> Header:
    """Shape and place of what `read_scan` reads, without its voxels. Raises InputError."""
    return _open(source).header


@dataclass(frozen=True, eq=False)
class Opened:
    """A scan that is described and not yet read: what each format has to give.

    name: of results. label: what messages call it. path: None for an image without a file.
    read: gives its voxels, tells what is unusual about their file, raises InputError. findings: what else is unusual.
    """

    header: Header
    name: str
    label: str
    path: Path | None
    read: Callable[[Notify], Voxels]
    findings: tuple[ScanFinding, ...] = ()


def scan_of(opened: Opened, *, force_geometry: bool = False) -> Scan:
    """Check the size, read the voxels, check their values. Raises as `read_scan`."""
    header = opened.header
    size = check_geometry(Grid(header.shape, header.affine), opened.label, force=force_geometry)
    told: list[str] = []
    voxels = opened.read(told.append)
    if not all(map(math.isfinite, voxels.ends())):
        raise InputError(_not_finite_message(voxels, opened.label))
    findings = (*opened.findings, *size, *check_values(voxels.values()))
    warnings = (*header.warnings, *told, *(finding.sentence for finding in findings))
    stored_bytes = header.dtype.itemsize
    return Scan(voxels, header.affine, header.forms, stored_bytes, opened.name, opened.path, warnings, findings)


def _open(source: str | os.PathLike[str] | SpatialImage) -> Opened:
    if isinstance(source, SpatialImage):
        path = unchanged_file(source)
        return _open_image(source) if path is None else _open_file(path)
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(f"Expected the path of a NIfTI scan or a nibabel image, found {type(source).__name__}.")
    return _open_file(expanded(source))


def _open_file(path: Path) -> Opened:
    if is_nrrd(path):
        nrrd = open_nrrd(path)
        return Opened(nrrd.header, scan_name(path), str(path), path, lambda notify: file_voxels(nrrd.stored, notify))
    file = open_nifti(path)
    with reading(path):
        header = describe(file.header, str(path))
    if header.dtype.kind == "u" and header.dtype.itemsize >= 4 and file.header["descrip"].item() == RESULT_MARK:
        raise InputError(f"{path} keeps a result of umlite, bits of masks: expected a CT in HU. Export it instead.")
    stored = Stored(file.voxels_path, file.offset, header.shape, header.dtype, header.slope, header.inter)
    return Opened(header, scan_name(path), str(path), path, lambda notify: file_voxels(stored, notify))


def _open_image(image: SpatialImage) -> Opened:
    filename = image.get_filename()
    path = None if filename is None else Path(filename)
    name, label = ("image", "The image") if path is None else (scan_name(path), str(path))
    with reading(path or Path(label)):
        header = describe_image(image, label)
    return Opened(header, name, label, path, lambda notify: voxels_of_image(image.dataobj, header, notify))


def _not_finite_message(voxels: Voxels, label: str) -> str:
    count, first, planes = 0, None, 0
    for slab in voxels.slabs(planes_of(voxels.shape, voxels.dtype)):
        wrong = ~np.isfinite(slab)
        if wrong.any():
            x, y, z = (int(i) for i in np.unravel_index(int(np.argmax(wrong)), slab.shape))
            count, first = count + int(wrong.sum()), min(first or (x, y, z + planes), (x, y, z + planes))
        planes += slab.shape[2]
    return (
        f"{label} has {count:,} voxels that are NaN or infinite, the first at {first}: expected finite HU. "
        f"Replace them, with -1024 for air."
    )


def scan_name(path: Path) -> str:
    """The file's name without the suffixes of NIfTI and NRRD."""
    for suffix in _SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name
