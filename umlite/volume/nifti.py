"""Bytes of a NIfTI file: header and voxels, told by content and checked before memory is taken for them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1PairHeader
from nibabel.nifti2 import Nifti2PairHeader

from umlite.errors import InputError
from umlite.volume.formats import DICOM, HEAD_BYTES, format_of
from umlite.volume.geometry import Size
from umlite.volume.unpacking import Notify, Section, is_packed, most_bytes, read_blocks, reading

_EXPECTED = "expected a NIfTI scan (.nii, .nii.gz or .hdr/.img) or an NRRD"
_SINGLE_HEADERS: dict[int, type[nib.Nifti1Header]] = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_PAIR_HEADERS: dict[int, type[nib.Nifti1Header]] = {348: Nifti1PairHeader, 540: Nifti2PairHeader}
_MOST_OFFSET = 1 << 30
_MOST_BEHIND = 1 << 28
"""Bytes behind the voxels of a gzip that are unpacked for its checksum's sake."""


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
    with reading(path, _EXPECTED):
        if path.is_dir():
            raise InputError(_directory_message(path))
        if not path.exists():
            raise InputError(f"{path} does not exist: {_EXPECTED}. Check the path.")
        if not path.is_file():
            raise InputError(f"{path} is not a regular file: {_EXPECTED}. Save the scan to a file first.")
        header_path = _sibling(path, ".img", ".hdr")
        if not header_path.is_file():
            raise InputError(f"{path} has no header: expected {header_path.name} beside it. Keep both files together.")
        start = b"".join(read_blocks(header_path, HEAD_BYTES))
        size, order = _header_size(start)
        if size is None or len(start) < size or format_of(start) == DICOM:
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
    first = size + 4 if voxels_path == header_path else 0
    return NiftiFile(header, header_path, voxels_path, _voxel_offset(header, first, path))


def read_array(
    source: Section, offset: int, shape: tuple[int, ...], dtype: np.dtype, notify: Notify | None = None
) -> np.ndarray:
    """`shape` voxels of `dtype` that lie `offset` unpacked bytes into `source`, in Fortran order, writeable.

    Reads a gzip to its end, so that its checksum counts. Memory grows with what the file really holds. notify: hears of
    what follows the voxels and should not. Raises InputError when the file is damaged or too short.
    """
    data = bytearray()
    with reading(source.path, _EXPECTED):
        for block in _voxel_blocks(source, offset, math.prod(shape) * dtype.itemsize, notify):
            data += block
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F")


def read_slabs(
    source: Section, offset: int, shape: Size, dtype: np.dtype, planes: int, notify: Notify | None = None
) -> Iterator[np.ndarray]:
    """The voxels that `read_array` gives, `planes` planes of the last axis at a time, fewer at the end.

    Raises InputError as `read_array`, at the latest after the last slab.
    """
    size = planes * shape[0] * shape[1] * dtype.itemsize
    data = bytearray()
    for block in _voxel_blocks(source, offset, math.prod(shape) * dtype.itemsize, notify):
        data += block
        while len(data) >= size:
            yield np.frombuffer(data[:size], dtype=dtype).reshape((*shape[:2], -1), order="F")
            del data[:size]
    if data:
        yield np.frombuffer(data, dtype=dtype).reshape((*shape[:2], -1), order="F")


def read_extensions(file: NiftiFile, most_bytes: int) -> list[bytes]:
    """Contents of the header extensions that lie within the first `most_bytes` of a file. Raises InputError."""
    with reading(file.header_path, _EXPECTED):
        end = min(file.offset, most_bytes) if file.header.is_single else most_bytes
        head = b"".join(read_blocks(file.header_path, end))[file.header.template_dtype.itemsize :]
    found: list[bytes] = []
    place = 4
    while head[:1] not in (b"", b"\0") and place + 8 <= len(head):  # the first four bytes say whether any follow
        size = int(np.frombuffer(head[place : place + 4], dtype=f"{file.header.endianness}i4")[0])
        if size < 16 or place + size > len(head):
            break
        found.append(head[place + 8 : place + size])
        place += size
    return found


def _voxel_blocks(source: Section, offset: int, wanted: int, notify: Notify | None) -> Iterator[bytes]:
    """`wanted` bytes from `offset` on; then a gzip is read to its end. Raises InputError as `read_array`."""
    with reading(source.path, _EXPECTED):
        if wanted + offset > most_bytes(source):
            raise InputError(_short_message(source.path, wanted, None))
        left, skip, behind = wanted, offset, 0
        for block in read_blocks(source, None if is_packed(source) else offset + wanted, notify):
            useful = block[skip : skip + left]
            skip = max(0, skip - len(block))
            left -= len(useful)
            if useful:
                yield useful
            behind += len(block) if not left else 0
            if behind > _MOST_BEHIND:
                if notify is not None:
                    notify(f"Over {_MOST_BEHIND / 1e6:.0f} MB follow the voxels: left unread, the checksum with them.")
                break
        if left:
            raise InputError(_short_message(source.path, wanted, wanted - left))


def _header_size(start: bytes) -> tuple[int | None, str | None]:
    for order in ("<", ">"):
        size = int(np.frombuffer(start[:4].ljust(4, b"\0"), dtype=f"{order}i4")[0])
        if size in _SINGLE_HEADERS:
            return size, order
    return None, None


def _voxel_offset(header: nib.Nifti1Header, first: int, path: Path) -> int:
    """Byte where the voxels begin, at least `first`; 0 in a header stands for that too."""
    offset = float(header["vox_offset"])
    if offset == 0:
        return first
    if not first <= offset <= _MOST_OFFSET or offset != int(offset):  # NaN too
        raise InputError(
            f"{path} says that its voxels start at byte {offset:g}: expected {first} or a little more. Export the scan "
            f"again."
        )
    return int(offset)


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
    if found := format_of(start):
        return found
    if _header_size(start)[0] is not None:
        return f"only {path.stat().st_size} bytes long, cut short within its header"
    return "not a NIfTI file"


def _advice(start: bytes) -> str:
    if format_of(start) == DICOM:
        return "DICOM is not supported here: convert the series with dcm2niix first."
    return "Export or convert the scan to NIfTI."


def _directory_message(path: Path) -> str:
    for index, entry in enumerate(sorted(path.iterdir())):
        if index >= 200:
            break
        if entry.is_file() and (
            entry.suffix.lower() in (".dcm", ".ima") or format_of(b"".join(read_blocks(entry, HEAD_BYTES))) == DICOM
        ):
            return (
                f"{path} is a folder of DICOM files: {_EXPECTED}. DICOM is not supported here: convert the series with "
                f"dcm2niix first."
            )
    return f"{path} is a folder: {_EXPECTED}. Name one file."
