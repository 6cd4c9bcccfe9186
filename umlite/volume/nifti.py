"""Bytes of a NIfTI file: header and voxels, told by content and checked before memory is taken for them."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1PairHeader
from nibabel.nifti2 import Nifti2PairHeader
from nibabel.spatialimages import HeaderDataError

from umlite.errors import InputError

_EXPECTED = "expected a NIfTI scan (.nii, .nii.gz or .hdr/.img)"
_SINGLE_HEADERS: dict[int, type[nib.Nifti1Header]] = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_PAIR_HEADERS: dict[int, type[nib.Nifti1Header]] = {348: Nifti1PairHeader, 540: Nifti2PairHeader}
_GZIP = b"\x1f\x8b"
_GZIP_MOST_RATIO = 1040
_BLOCK = 1 << 22

Size = tuple[int, int, int]

_OTHER_FORMATS = {
    b"NRRD": "an NRRD file",
    b"ObjectType": "a MetaImage file",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"II*\x00": "a TIFF image",
    b"MM\x00*": "a TIFF image",
    b"PK\x03\x04": "a ZIP archive",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"\x89HDF": "an HDF5 file",
    b"CDF": "a MINC file",
    b"\x93NUMPY": "a NumPy array",
    b"%PDF": "a PDF document",
}


@dataclass(frozen=True, eq=False)
class NiftiFile:
    """A header as stored, nothing repaired, and where the voxels are.

    header: nibabel's Nifti1 or Nifti2 header, without extensions. offset: of the voxels in `voxels_path`, in bytes.
    header_path and voxels_path are the same, except for a .hdr/.img pair.
    """

    header: nib.Nifti1Header
    header_path: Path
    voxels_path: Path
    offset: int


def open_nifti(path: Path) -> NiftiFile:
    """Read the header of the NIfTI-1 or -2 file at `path`, gzipped or not. Raises InputError."""
    with reading(path):
        if path.is_dir():
            raise InputError(_directory_message(path))
        if not path.exists():
            raise InputError(f"{path} does not exist: {_EXPECTED}. Check the path.")
        if not path.is_file():
            raise InputError(f"{path} is not a regular file: {_EXPECTED}. Save the scan to a file first.")
        header_path = _sibling(path, ".img", ".hdr")
        if not header_path.is_file():
            raise InputError(f"{path} has no header: expected {header_path.name} beside it. Keep both files together.")
        start = b"".join(read_blocks(header_path, 540))
    size, order = _header_size(start)
    if size is None or len(start) < size:
        raise InputError(f"{path} is {_describe(header_path, start)}: {_EXPECTED}. {_advice(start)}")
    magic = start[344:348] if size == 348 else start[4:8]
    if magic[:3] not in (b"n+1", b"ni1", b"n+2", b"ni2") or magic[3:] != b"\0":
        raise InputError(
            f"{path} has an ANALYZE 7.5 header or a damaged NIfTI one: {_EXPECTED}. Convert or export it again."
        )
    single = magic[1:2] == b"+"
    header = (_SINGLE_HEADERS if single else _PAIR_HEADERS)[size](start[:size], endianness=order, check=False)
    voxels_path = header_path if single else _sibling(header_path, ".hdr", ".img")
    if not voxels_path.is_file():
        raise InputError(f"{path} has no voxels: expected {voxels_path.name} beside it. Keep both files together.")
    return NiftiFile(header, header_path, voxels_path, _voxel_offset(header, size, single, path))


def read_array(path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """`shape` voxels of `dtype` that lie `offset` bytes into `path`, gzipped or not, in Fortran order, writeable.

    Reads a gzip to its end, so that its checksum counts. Memory grows with what the file really holds. Raises
    InputError when the file is damaged or too short.
    """
    data = bytearray()
    with reading(path):
        for block in _voxel_blocks(path, offset, math.prod(shape) * dtype.itemsize):
            data += block
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F")


def read_slabs(path: Path, offset: int, shape: Size, dtype: np.dtype, planes: int) -> Iterator[np.ndarray]:
    """The voxels that `read_array` gives, so many planes of the last axis at a time, fewer at the end.

    Raises InputError as `read_array`, at the latest after the last slab.
    """
    size = planes * shape[0] * shape[1] * dtype.itemsize
    data = bytearray()
    for block in _voxel_blocks(path, offset, math.prod(shape) * dtype.itemsize):
        data += block
        while len(data) >= size:
            yield np.frombuffer(data[:size], dtype=dtype).reshape((*shape[:2], -1), order="F")
            del data[:size]
    if data:
        yield np.frombuffer(data, dtype=dtype).reshape((*shape[:2], -1), order="F")


def read_blocks(path: Path, limit: int | None) -> Iterator[bytes]:
    """The bytes of `path`, unpacked when its content is a gzip: the first `limit`, or all of them and then the check of
    the gzip's checksum. Raises what the system and gzip raise."""
    with open(path, "rb") as raw:
        packed = raw.read(2) == _GZIP
        raw.seek(0)
        stream: BinaryIO | gzip.GzipFile = gzip.GzipFile(fileobj=raw) if packed else raw
        left = math.inf if limit is None else limit
        while left > 0 and (block := stream.read(int(min(_BLOCK, left)))):
            yield block
            left -= len(block)


def _voxel_blocks(path: Path, offset: int, wanted: int) -> Iterator[bytes]:
    """`wanted` bytes from `offset` on, then nothing more, but read to the end. Raises InputError as `read_array`."""
    with reading(path):
        if wanted + offset > _most_bytes(path):
            raise InputError(_short_message(path, wanted, None))
        found, skip = 0, offset
        for block in read_blocks(path, None):
            useful = block[skip:] if skip else block
            skip = max(0, skip - len(block))
            useful = useful[: wanted - found]
            found += len(useful)
            if useful:
                yield useful
        if found < wanted:
            raise InputError(_short_message(path, wanted, found))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong while `path` is read into InputError."""
    try:
        yield
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: permission denied. Give yourself read access to it.") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path} is a damaged gzip ({error}): expected a complete one. Download or export the scan again."
        ) from error
    except MemoryError as error:
        raise InputError(f"{path} does not fit in memory. Use a machine with more, or crop the scan.") from error
    except (OSError, HeaderDataError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): {_EXPECTED}. Export the scan again.") from error


def _header_size(start: bytes) -> tuple[int | None, str | None]:
    for order in ("<", ">"):
        size = int(np.frombuffer(start[:4].ljust(4, b"\0"), dtype=f"{order}i4")[0])
        if size in _SINGLE_HEADERS:
            return size, order
    return None, None


def _voxel_offset(header: nib.Nifti1Header, size: int, single: bool, path: Path) -> int:
    offset = float(header["vox_offset"])
    if not single and offset == int(max(offset, 0)):
        return int(offset)
    if offset == 0:
        return size + 4
    if not math.isfinite(offset) or offset != int(offset) or offset < size + 4:
        raise InputError(
            f"{path} says that its voxels start at byte {offset:g}: expected {size + 4} or more. Export the scan again."
        )
    return int(offset)


def _most_bytes(path: Path) -> int:
    """More bytes than these a file cannot unpack to; deflate never does better than 1032 to 1."""
    with open(path, "rb") as raw:
        packed = raw.read(2) == _GZIP
        size = raw.seek(0, io.SEEK_END)
    return size * _GZIP_MOST_RATIO if packed else size


def _short_message(path: Path, wanted: int, found: int | None) -> str:
    got = "the file is far too small for that" if found is None else f"found {found:,}"
    return f"{path} is cut short: expected {wanted:,} bytes of voxels, {got}. Copy or export the scan again."


def _sibling(path: Path, suffix: str, wanted: str) -> Path:
    """`x.img` as `x.hdr` (also `.img.gz` as `.hdr.gz`, or without .gz where only that exists); others unchanged."""
    lower = path.name.lower()
    for tail in (suffix, f"{suffix}.gz"):
        if lower.endswith(tail):
            stem = path.name[: -len(tail)]
            names = [stem + wanted, stem + wanted.upper(), f"{stem}{wanted}.gz"]
            names.sort(key=lambda name: name.endswith(".gz") != tail.endswith(".gz"))
            return next((path.with_name(n) for n in names if path.with_name(n).is_file()), path.with_name(names[0]))
    return path


def _describe(path: Path, start: bytes) -> str:
    if not start:
        return "empty"
    if start[128:132] == b"DICM":
        return "a DICOM file"
    for mark, what in _OTHER_FORMATS.items():
        if start.startswith(mark):
            return what
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in start):
        return "a text file"
    if _header_size(start)[0] is not None:
        return f"only {path.stat().st_size} bytes long, cut short within its header"
    return "not a NIfTI file"


def _advice(start: bytes) -> str:
    if start[128:132] == b"DICM":
        return "DICOM is not supported yet: convert the series with dcm2niix first."
    return "Export or convert the scan to NIfTI."


def _directory_message(path: Path) -> str:
    for index, entry in enumerate(sorted(path.iterdir())):
        if index >= 200:
            break
        if entry.is_file() and (
            entry.suffix.lower() in (".dcm", ".ima") or b"".join(read_blocks(entry, 132))[128:] == b"DICM"
        ):
            return (
                f"{path} is a folder of DICOM files: {_EXPECTED}. DICOM is not supported yet: convert the series with "
                f"dcm2niix first."
            )
    return f"{path} is a folder: {_EXPECTED}. Name one file."
