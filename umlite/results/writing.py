"""Masks out: NIfTI files on the scan's own grid, all of them or none."""

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
"""As nibabel's: masks are mostly runs of zeros, which level 6 packs little better and much slower."""
_BLOCK_VOXELS = 1 << 18


class Planes(Protocol):
    """An array [X, Y, Z], or what looks like one where it is read: [:, :, first:end]."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __getitem__(self, index: tuple[slice, slice, slice], /) -> np.ndarray: ...


def write_masks(
    folder: Path, names: Sequence[str], slabs: Iterable[BitMask], scan: Scan, *, overwrite: bool = True
) -> list[Path]:
    """Write one NIfTI file a class, `folder`/<name>.nii.gz, uint8 of 0 and 1, on the scan's grid.

    slabs: whole planes of the scan's last axis with all of these classes, in order; taken one at a time.
    Files appear only once all are written; when anything raises, KeyboardInterrupt too, no new file and no new folder
    stays. Equal slabs give equal bytes. Raises OutputError, also when a file exists and `overwrite` is off.
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
    """Write one NIfTI file a class, `folder`/<name>_probability.nii.gz: uint8 steps of 1 / 255; one after the other.

    The header holds that slope, so that readers give probabilities from 0 to 1. All files or none, as `write_masks`.
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
    """Write one NIfTI file, .nii or .nii.gz, of labels on the scan's grid, with the labels' names inside.

    labels: integers, of the scan's shape; stored as uint8, or uint16 when a label or a name's index is over 255. What
        only looks like an array holds no other labels than those of `names`.
    names: label -> (name, (red, green, blue) in 0..255). `read_label_names` reads them back.
    Raises OutputError.
    """
    path = Path(path)
    if not is_label_map(path):
        raise OutputError(f"Cannot write {path}: expected a name that ends in .nii or .nii.gz.", about="output")
    _check(path, labels, scan)
    _check_place(path)
    found = [int(labels.min()), int(labels.max())] if isinstance(labels, np.ndarray) else []
    lowest, highest = min(*found, *names, 0), max(*found, *names, 0)
    if lowest < 0 or highest > np.iinfo(np.uint16).max:
        raise OutputError(f"Cannot write {path}: labels run from {lowest} to {highest}, expected 0..65535. Renumber.")
    header = _result_header(scan.forms, labels.shape, np.dtype(np.uint8 if highest <= 255 else np.uint16))
    header.extensions.append(label_extension(names))
    with _all_or_nothing(path.parent), replacing(path, overwrite=overwrite) as temporary:
        _write(temporary, path, labels, header)
    return path


def is_label_map(path: Path) -> bool:
    """Whether an output's name asks for one label map, not for a folder of masks."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def _check(path: Path, array: Planes, scan: Scan) -> None:
    if array.shape != scan.shape or array.dtype.kind not in "biu":
        raise OutputError(_wrong_shape(path, f"{array.dtype} of {array.shape}", scan))


def _check_place(path: Path) -> None:
    if path.is_dir():
        raise OutputError(f"Cannot write {path}: a folder of that name exists. Choose another name.", about="output")


def _wrong_shape(path: Path, found: str, scan: Scan) -> str:
    return (
        f"Cannot write {path}: expected integers of the scan's shape {scan.shape}, found {found}. Restore the mask to "
        f"the scan's grid first."
    )


def _named(folder: Path, name: str, ending: str, written: list[Path]) -> Path:
    """The file of a class, which joins those that are written."""
    path = folder / f"{name}{ending}"
    if not name or not name.isprintable() or Path(name).name != name or path in written:
        raise OutputError(f"Cannot write a mask named {name!r}: expected a new plain file name. Rename it.")
    _check_place(path)
    written.append(path)
    return path


@contextmanager
def _all_or_nothing(folder: Path) -> Iterator[list[Path]]:
    """Make `folder`; when the block raises, remove the folders this made and the new files that the block lists."""
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
    """A NIfTI file that is written block after block, packed where its name says so. Raises OutputError.

    path: what `temporary` will be.
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
        with contextlib.suppress(OSError):  # `close` has told of it, or what was written does not matter any more
            self._file.close()

    def write(self, block: bytes | int) -> None:
        """Append some bytes, or so many zeros."""
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
    """The voxels in the order in which NIfTI stores them, a few planes at a time; an int is so many zero bytes."""
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
    """A new header, little-endian, with the scan's place in space and nothing else of it."""
    header = forms.header(shape, dtype)
    header["scl_slope"], header["scl_inter"] = slope, 0
    header["descrip"] = b"umlite"
    return header
