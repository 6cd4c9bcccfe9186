"""Masks to NIfTI files on the scan's own grid, as members of a set of files."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import nibabel as nib
import numpy as np

from umlite.errors import OutputError
from umlite.masks.bitmask import BitMask, ClassMask
from umlite.masks.probability_on_scan import SLOPE, ProbabilityOnScan
from umlite.outputs.file_set import Files
from umlite.results.label_table import label_extension
from umlite.results.staged_file import StagedFile
from umlite.volume.forms import Forms
from umlite.volume.reading import RESULT_MARK, Scan

_BLOCK_VOXELS = 1 << 18


class Planes(Protocol):
    """An array [X, Y, Z], or an object that looks like one and computes the planes that are read: [:, :, first:end]."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __getitem__(self, index: tuple[slice, slice, slice], /) -> np.ndarray: ...


def write_masks(
    files: Files, folder: Path, names: Mapping[str, str], slabs: Iterable[BitMask], scan: Scan
) -> list[Path]:
    """Write one NIfTI file per class, `folder`/<name>.nii.gz, uint8 of 0 and 1, on the scan's grid.

    Equal slabs give equal bytes. One file at a time is open.

    Args:
        files: the set that they join.
        folder: the set's folder, or one in it.
        names: of the classes, canonical name -> name of the file.
        slabs: masks of all these classes on whole planes of the scan's last axis, in order, read one at a time.
        scan: gives the grid and its place in space.

    Returns:
        The files, under the names that they will have.

    Raises:
        OutputError: a file cannot be written.
    """
    written: list[Path] = []
    outputs = []
    for name in names.values():
        path = _named(folder, name, ".nii.gz", written)
        outputs.append(nifti_file(files, path, result_header(scan.forms, scan.shape, np.dtype(np.uint8))))
    planes = 0
    for slab in slabs:
        planes += slab.shape[2]
        if slab.shape[:2] != scan.shape[:2] or planes > scan.shape[2]:
            raise OutputError(_wrong_shape(folder, f"masks of {(*slab.shape[:2], planes)}", scan))
        for output, (_, mask) in zip(outputs, slab.class_masks(list(names)), strict=True):
            for block in _blocks(mask, np.dtype(np.uint8)):
                output.write(block)
    if planes != scan.shape[2]:
        raise OutputError(_wrong_shape(folder, f"masks of {(*scan.shape[:2], planes)}", scan))
    for output in outputs:
        output.close()
    return written


def write_probabilities(
    files: Files, folder: Path, arrays: Iterable[tuple[str, ProbabilityOnScan]], scan: Scan
) -> list[Path]:
    """Write one NIfTI file per class, `folder`/<name>_probability.nii.gz, in uint8 steps of 1 / 255.

    The header holds that slope, so readers see probabilities from 0 to 1.

    Args:
        files: the set that they join.
        folder: the set's folder, or one in it.
        arrays: name and probability of each class, read one after the other.
        scan: gives the grid and its place in space.

    Returns:
        The files, under the names that they will have.

    Raises:
        OutputError: a file cannot be written.
    """
    written: list[Path] = []
    for name, array in arrays:
        path = _named(folder, name, "_probability.nii.gz", written)
        _check(path, array, scan)
        _write(files, path, array, result_header(scan.forms, array.shape, array.dtype, SLOPE))
    return written


def write_label_map(
    files: Files, path: Path, labels: Planes, names: Mapping[int, tuple[str, tuple[int, int, int]]], scan: Scan
) -> Path:
    """Write a label map as one NIfTI file that also holds the names and colours of its labels.

    Args:
        files: the set that it joins.
        path: in the set's folder; ends in .nii or .nii.gz.
        labels: integers of the scan's shape, stored as uint8, or as uint16 if a label is above 255. An object that only
            looks like an array must hold no labels but those of `names`.
        names: label -> (name, (red, green, blue) in 0..255). `read_label_names` reads them back.
        scan: gives the grid and its place in space.

    Returns:
        The file, under the name that it will have.

    Raises:
        OutputError: a wrong name, shape or label, or a file that cannot be written.
    """
    path = Path(path)
    if not is_label_map(path):
        raise OutputError(f"Cannot write {path}: expected a name that ends in .nii or .nii.gz.", about="output")
    _check(path, labels, scan)
    found = [int(labels.min()), int(labels.max())] if isinstance(labels, np.ndarray) else []
    lowest, highest = min(*found, *names, 0), max(*found, *names, 0)
    if lowest < 0 or highest > np.iinfo(np.uint16).max:
        raise OutputError(f"Cannot write {path}: labels run from {lowest} to {highest}, expected 0..65535.")
    header = result_header(scan.forms, labels.shape, np.dtype(np.uint8 if highest <= 255 else np.uint16))
    header.extensions.append(label_extension(names))
    _write(files, path, labels, header)
    return path


def is_label_map(path: Path) -> bool:
    """Whether an output's name asks for one label map instead of a folder of masks."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def _check(path: Path, array: Planes, scan: Scan) -> None:
    if array.shape != scan.shape or array.dtype.kind not in "biu":
        raise OutputError(_wrong_shape(path, f"{array.dtype} of {array.shape}", scan))


def _wrong_shape(path: Path, found: str, scan: Scan) -> str:
    return (
        f"Cannot write {path}: expected integers of the scan's shape {scan.shape}, found {found}. Resample the mask to "
        "the scan's grid first."
    )


def _named(folder: Path, name: str, ending: str, written: list[Path]) -> Path:
    """The file of a class, which is added to `written`."""
    path = folder / f"{name}{ending}"
    if not name or not name.isprintable() or Path(name).name != name or path in written:
        raise OutputError(f"Cannot write a mask named {name!r}: expected a plain file name that is not used yet.")
    written.append(path)
    return path


def _write(files: Files, path: Path, array: Planes, header: nib.Nifti1Header) -> None:
    output = nifti_file(files, path, header)
    for block in _blocks(array, header.get_data_dtype()):
        output.write(block)
    output.close()


def _blocks(array: Planes, dtype: np.dtype) -> Iterator[bytes | int]:
    """Voxels in NIfTI's order, a few planes at a time; an int stands for that many zero bytes."""
    plane = array.shape[0] * array.shape[1]
    step = max(1, _BLOCK_VOXELS // plane)
    for start in range(0, array.shape[2], step):
        stop = min(start + step, array.shape[2])
        is_empty = isinstance(array, ClassMask) and not array.planes[start:stop].any()
        block = None if is_empty else array[:, :, start:stop]
        if block is None or not block.any():
            yield plane * (stop - start) * dtype.itemsize
        else:
            yield block.astype(dtype, copy=False).tobytes(order="F")


def nifti_file(files: Files, path: Path, header: nib.Nifti1Header) -> StagedFile:
    """A NIfTI file that is written block by block, its header first. Raises OutputError."""
    head = io.BytesIO()
    header.write_to(head)
    output = StagedFile(files, path, packed=path.name.lower().endswith(".gz"))
    output.write(head.getvalue())
    return output


def result_header(forms: Forms, shape: tuple[int, ...], dtype: np.dtype, slope: float = 1.0) -> nib.Nifti1Header:
    """A new little-endian header that keeps nothing of the scan's but its place in space."""
    header = forms.header(shape, dtype)
    header["scl_slope"], header["scl_inter"] = slope, 0
    header["descrip"] = RESULT_MARK
    return header
