"""Masks to NIfTI files on the scan's own grid, all of them or none."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import nibabel as nib
import numpy as np

from umlite.errors import OutputError
from umlite.files import make_folder, output_error, replacing
from umlite.masks.bitmask import BitMask, ClassMask
from umlite.masks.probability_on_scan import SLOPE, ProbabilityOnScan
from umlite.results.label_table import label_extension
from umlite.results.sparse_gzip import SparseGzip
from umlite.volume.forms import Forms
from umlite.volume.reading import Scan

_GZIP_LEVEL = 1
"""The level of nibabel. Masks are mostly runs of zeros, which level 6 compresses little better and much slower."""
_BLOCK_VOXELS = 1 << 18


class Planes(Protocol):
    """An array [X, Y, Z], or an object that looks like one and computes the planes that are read: [:, :, first:end]."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __getitem__(self, index: tuple[slice, slice, slice], /) -> np.ndarray: ...


def write_masks(
    folder: Path, names: Sequence[str], slabs: Iterable[BitMask], scan: Scan, *, overwrite: bool = True
) -> list[Path]:
    """Write one NIfTI file per class, `folder`/<name>.nii.gz, uint8 of 0 and 1, on the scan's grid.

    Files appear only when all are written. If anything raises, KeyboardInterrupt included, no new file or folder stays.
    Equal slabs give equal bytes.

    Args:
        folder: created if needed.
        names: canonical class names.
        slabs: masks of all these classes on whole planes of the scan's last axis, in order, read one at a time.
        scan: gives the grid and its place in space.
        overwrite: whether existing files may be replaced.

    Returns:
        The files written.

    Raises:
        OutputError: a file cannot be written, or exists and must not be replaced.
    """
    written: list[Path] = []
    with _all_or_nothing(folder) as published, ExitStack() as files:
        outputs = []
        for name in names:
            path = _named(folder, name, ".nii.gz", written)
            temporary = files.enter_context(replacing(path, overwrite=overwrite, published=published))
            header = _result_header(scan.forms, scan.shape, np.dtype(np.uint8))
            outputs.append(files.enter_context(_Output(temporary, path, header)))
        planes = 0
        for slab in slabs:
            planes += slab.shape[2]
            if slab.shape[:2] != scan.shape[:2] or planes > scan.shape[2]:
                raise OutputError(_wrong_shape(folder, f"masks of {(*slab.shape[:2], planes)}", scan))
            for output, (_, mask) in zip(outputs, slab.class_masks(names), strict=True):
                for block in _blocks(mask, np.dtype(np.uint8)):
                    output.write(block)
        if planes != scan.shape[2]:
            raise OutputError(_wrong_shape(folder, f"masks of {(*scan.shape[:2], planes)}", scan))
        for output in outputs:
            output.close()
    return written


def write_probabilities(
    folder: Path, arrays: Iterable[tuple[str, ProbabilityOnScan]], scan: Scan, *, overwrite: bool = True
) -> list[Path]:
    """Write one NIfTI file per class, `folder`/<name>_probability.nii.gz, in uint8 steps of 1 / 255.

    The header holds that slope, so readers see probabilities from 0 to 1. All files appear, or none.

    Args:
        folder: created if needed.
        arrays: name and probability of each class, read one after the other.
        scan: gives the grid and its place in space.
        overwrite: whether existing files may be replaced.

    Returns:
        The files written.

    Raises:
        OutputError: a file cannot be written, or exists and must not be replaced.
    """
    written: list[Path] = []
    with _all_or_nothing(folder) as published, ExitStack() as files:
        for name, array in arrays:
            path = _named(folder, name, "_probability.nii.gz", written)
            _check(path, array, scan)
            temporary = files.enter_context(replacing(path, overwrite=overwrite, published=published))
            _write(temporary, path, array, _result_header(scan.forms, array.shape, array.dtype, SLOPE))
    return written


def write_label_map(
    path: Path,
    labels: Planes,
    names: Mapping[int, tuple[str, tuple[int, int, int]]],
    scan: Scan,
    *,
    overwrite: bool = True,
) -> Path:
    """Write a label map as one NIfTI file that also holds the names and colours of its labels.

    Args:
        path: ends in .nii or .nii.gz.
        labels: integers of the scan's shape, stored as uint8, or as uint16 if a label is above 255. An object that only
            looks like an array must hold no labels but those of `names`.
        names: label -> (name, (red, green, blue) in 0..255). `read_label_names` reads them back.
        scan: gives the grid and its place in space.
        overwrite: whether an existing file may be replaced.

    Returns:
        The file written.

    Raises:
        OutputError: a wrong name, shape or label, or a file that cannot be written.
    """
    path = Path(path)
    if not is_label_map(path):
        raise OutputError(f"Cannot write {path}: expected a name that ends in .nii or .nii.gz.", about="output")
    _check(path, labels, scan)
    _check_place(path)
    found = [int(labels.min()), int(labels.max())] if isinstance(labels, np.ndarray) else []
    lowest, highest = min(*found, *names, 0), max(*found, *names, 0)
    if lowest < 0 or highest > np.iinfo(np.uint16).max:
        raise OutputError(f"Cannot write {path}: labels run from {lowest} to {highest}, expected 0..65535.")
    header = _result_header(scan.forms, labels.shape, np.dtype(np.uint8 if highest <= 255 else np.uint16))
    header.extensions.append(label_extension(names))
    with _all_or_nothing(path.parent), replacing(path, overwrite=overwrite) as temporary:
        _write(temporary, path, labels, header)
    return path


def is_label_map(path: Path) -> bool:
    """Whether an output's name asks for one label map instead of a folder of masks."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def _check(path: Path, array: Planes, scan: Scan) -> None:
    if array.shape != scan.shape or array.dtype.kind not in "biu":
        raise OutputError(_wrong_shape(path, f"{array.dtype} of {array.shape}", scan))


def _check_place(path: Path) -> None:
    if path.is_dir():
        raise OutputError(f"Cannot write {path}: a folder of that name exists. Choose another name.", about="output")


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
    _check_place(path)
    written.append(path)
    return path


@contextmanager
def _all_or_nothing(folder: Path) -> Iterator[list[Path]]:
    """Create `folder`. If the block raises, remove the folders created here and the new files that the block lists."""
    made = [f for f in (folder, *folder.parents) if not f.exists()]
    published: list[Path] = []
    try:
        make_folder(folder)
        yield published
    except BaseException:
        for path in published:
            path.unlink(missing_ok=True)
        for new in made:
            if new.is_dir() and not any(new.iterdir()):
                new.rmdir()
        raise


class _Output:
    """A NIfTI file that is written block by block and compressed if its name ends in .gz. Raises OutputError.

    Args:
        temporary: the file to write.
        path: the name that it will get.
        header: its header, written first.
    """

    def __init__(self, temporary: Path, path: Path, header: nib.Nifti1Header) -> None:
        self._path = path
        head = io.BytesIO()
        header.write_to(head)
        with self._refusals():
            self._file = open(temporary, "wb")  # noqa: SIM115
            self._packed = SparseGzip(self._file, _GZIP_LEVEL) if path.name.lower().endswith(".gz") else None
        self.write(head.getvalue())

    def __enter__(self) -> _Output:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # `close` has reported it, or the file is about to be removed
            self._file.close()

    def write(self, block: bytes | int) -> None:
        """Append bytes, or a number of zero bytes."""
        with self._refusals():
            if self._packed is None:
                self._file.write(bytes(block))
            elif isinstance(block, int):
                self._packed.write_zeros(block)
            else:
                self._packed.write(block)

    def close(self) -> None:
        """Complete the file."""
        with self._refusals():
            if self._packed is not None:
                self._packed.close()
            self._file.close()

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise output_error(error, self._path) from error


def _write(temporary: Path, path: Path, array: Planes, header: nib.Nifti1Header) -> None:
    with _Output(temporary, path, header) as output:
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


def _result_header(forms: Forms, shape: tuple[int, ...], dtype: np.dtype, slope: float = 1.0) -> nib.Nifti1Header:
    """A new little-endian header that keeps nothing of the scan's but its place in space."""
    header = forms.header(shape, dtype)
    header["scl_slope"], header["scl_inter"] = slope, 0
    header["descrip"] = b"umlite"
    return header
