"""Masks out: NIfTI files on the scan's own grid, all of them or none."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Extension

from umlite.errors import OutputError
from umlite.files import make_folder, replacing
from umlite.inference.bitmask import ClassMask
from umlite.volume.label_table import label_extension
from umlite.volume.probability import SLOPE, ProbabilityOnScan
from umlite.volume.reading import Scan
from umlite.volume.sparse_gzip import SparseGzip

_GZIP_LEVEL = 1
"""As nibabel's: masks are mostly runs of zeros, which level 6 packs little better and much slower."""
_BLOCK_VOXELS = 1 << 18

Mask = np.ndarray | ClassMask | ProbabilityOnScan


def write_masks(folder: Path, masks: Iterable[tuple[str, Mask]], scan: Scan, *, overwrite: bool = True) -> list[Path]:
    """Write one NIfTI file a mask, `folder`/<name>.nii.gz, uint8 of 0 and 1, on the scan's grid.

    masks: (name, array of the scan's shape, bool or integer, not 0 = inside; or one class of a bit mask, of which only
        a few planes are unpacked at a time); taken one at a time.
    Files appear only once all are written; when anything raises, KeyboardInterrupt too, no new file and no new folder
    stays. Equal masks give equal bytes. Raises OutputError, also when a file exists and `overwrite` is off.
    """
    return _write_each(folder, masks, scan, ".nii.gz", 1.0, overwrite)


def write_probabilities(
    folder: Path, arrays: Iterable[tuple[str, ProbabilityOnScan]], scan: Scan, *, overwrite: bool = True
) -> list[Path]:
    """Write one NIfTI file a class, `folder`/<name>_probability.nii.gz: uint8 steps of 1 / 255.

    The header holds that slope, so that readers give probabilities from 0 to 1. All files or none, as `write_masks`.
    """
    return _write_each(folder, arrays, scan, "_probability.nii.gz", SLOPE, overwrite)


def write_label_map(
    path: Path,
    labels: np.ndarray,
    names: Mapping[int, tuple[str, tuple[int, int, int]]],
    scan: Scan,
    *,
    overwrite: bool = True,
) -> Path:
    """Write one NIfTI file, .nii or .nii.gz, of labels on the scan's grid, with the labels' names inside.

    labels: integers, of the scan's shape; stored as uint8, or uint16 when a label or a name's index is over 255.
    names: label -> (name, (red, green, blue) in 0..255). `read_label_names` reads them back.
    Raises OutputError.
    """
    path = Path(path)
    if not is_label_map(path):
        raise OutputError(f"Cannot write {path}: expected a name that ends in .nii or .nii.gz. Rename the output.")
    _check(path, labels, scan)
    lowest = min(int(labels.min()), *names, 0)
    highest = max(int(labels.max()), *names, 0)
    if lowest < 0 or highest > np.iinfo(np.uint16).max:
        raise OutputError(f"Cannot write {path}: labels run from {lowest} to {highest}, expected 0..65535. Renumber.")
    dtype = np.dtype(np.uint8 if highest <= 255 else np.uint16)
    with _all_or_nothing(path.parent), replacing(path, overwrite=overwrite) as temporary:
        _write(temporary, path, labels, dtype, scan, label_extension(names), binary=False)
    return path


def is_label_map(path: Path) -> bool:
    """Whether an output's name asks for one label map, not for a folder of masks."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def _check(path: Path, array: Mask, scan: Scan) -> None:
    if array.shape != scan.shape or array.dtype.kind not in "biu":
        raise OutputError(
            f"Cannot write {path}: expected integers of the scan's shape {scan.shape}, found {array.dtype} of "
            f"{array.shape}. Restore the mask to the scan's grid first."
        )
    if path.is_dir():
        raise OutputError(f"Cannot write {path}: a folder of that name exists. Choose another name with -o.")


def _write_each(
    folder: Path, arrays: Iterable[tuple[str, Mask]], scan: Scan, ending: str, slope: float, overwrite: bool
) -> list[Path]:
    written: list[Path] = []
    with _all_or_nothing(folder) as published, ExitStack() as files:
        for name, mask in arrays:
            path = folder / f"{name}{ending}"
            _check(path, mask, scan)
            if not name or not name.isprintable() or Path(name).name != name or path in written:
                raise OutputError(f"Cannot write a mask named {name!r}: expected a new plain file name. Rename it.")
            written.append(path)
            temporary = files.enter_context(replacing(path, overwrite=overwrite, published=published))
            _write(temporary, path, mask, np.dtype(np.uint8), scan, None, binary=slope == 1, slope=slope)
    return written


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


def _write(
    temporary: Path,
    path: Path,
    array: Mask,
    dtype: np.dtype,
    scan: Scan,
    extension: Nifti1Extension | None,
    binary: bool,
    slope: float = 1.0,
) -> None:
    header = _result_header(scan.header, array.shape, dtype, slope)
    if extension is not None:
        header.extensions.append(extension)
    head = io.BytesIO()
    header.write_to(head)
    with open(temporary, "wb") as file:
        if not path.name.lower().endswith(".gz"):
            file.write(head.getvalue())
            for block in _blocks(array, dtype, binary):
                file.write(bytes(block))
            return
        packed = SparseGzip(file, _GZIP_LEVEL)
        packed.write(head.getvalue())
        for block in _blocks(array, dtype, binary):
            if isinstance(block, int):
                packed.write_zeros(block)
            else:
                packed.write(block)
        packed.close()


def _blocks(array: Mask, dtype: np.dtype, binary: bool) -> Iterator[bytes | int]:
    """The voxels in the order in which NIfTI stores them, a few planes at a time; an int is so many zero bytes."""
    plane = array.shape[0] * array.shape[1]
    step = max(1, _BLOCK_VOXELS // plane)
    for start in range(0, array.shape[2], step):
        stop = min(start + step, array.shape[2])
        if isinstance(array, ClassMask) and not array.planes[start:stop].any():
            yield plane * (stop - start) * dtype.itemsize
            continue
        block = array[:, :, start:stop]
        if not block.any():
            yield plane * (stop - start) * dtype.itemsize
            continue
        block = block != 0 if binary and block.dtype != np.bool_ else block
        yield block.astype(dtype, copy=False).tobytes(order="F")


def _result_header(source: nib.Nifti1Header, shape: tuple[int, ...], dtype: np.dtype, slope: float) -> nib.Nifti1Header:
    """A new header, little-endian, with the source's place in space and none of its text."""
    header = (nib.Nifti2Header if isinstance(source, nib.Nifti2Header) else nib.Nifti1Header)(endianness="<")
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    for field in ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y"):
        header[field] = source[field]
    for field in ("qoffset_z", "srow_x", "srow_y", "srow_z"):
        header[field] = source[field]
    header["pixdim"][:4] = source["pixdim"][:4]
    header.set_xyzt_units("mm")
    header["scl_slope"], header["scl_inter"] = slope, 0
    header["descrip"] = b"umlite"
    return header
