"""Scans as NRRD (.nrrd, or .nhdr with the voxels beside it): the header by the format's rules, the voxels left there.

Source: teem.sourceforge.net/nrrd/format.html. Fields that only say how to draw or what was measured are not read.
"""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from umlite.errors import InputError
from umlite.files import open_file
from umlite.volume.forms import Forms
from umlite.volume.geometry import spacing_of
from umlite.volume.header import Header, one_volume
from umlite.volume.placement import affine_fault, no_affine_message, warn_about_axes
from umlite.volume.unpacking import reading
from umlite.volume.voxels import Stored

MAGIC = b"NRRD000"
EXPECTED = "expected an NRRD scan (.nrrd, or .nhdr with its voxels beside it)"
_MOST_HEADER, _MOST_SKIP = 1 << 20, 1 << 30
_LINE = re.compile(r"([^:]+): (.*)")
_VECTOR = re.compile(r"none|\(([^()]*)\)")
_ALIASES = {"datafile": "data file", "byteskip": "byte skip", "lineskip": "line skip"}
_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_TO_RAS = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}
_UNITS_MM = {"": 1.0, "mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 0.001}


@dataclass(frozen=True, eq=False)
class NrrdFile:
    """A described scan, and where its voxels are."""

    header: Header
    stored: Stored


def is_nrrd(path: Path) -> bool:
    """Whether a file begins like an NRRD. False for what cannot be read."""
    try:
        with open_file(path) as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def voxels_path(path: Path) -> Path:
    """The file that holds the voxels: `path` itself, or the one that its header names. Raises InputError."""
    return _voxels_path(_read_fields(path)[0], path)


def open_nrrd(path: Path) -> NrrdFile:
    """Describe the NRRD file at `path`. Raises InputError."""
    fields, end = _read_fields(path)
    label, warnings = str(path), list[str]()
    if any(key.startswith("Segment0_") for key in fields):
        raise InputError(f"{path} is a segmentation of 3D Slicer: {EXPECTED}. Give the CT itself.")
    sizes, dimension = _numbers(fields, "sizes", path), _number(fields, "dimension", path)
    if not all(map(float.is_integer, sizes)) or len(sizes) != dimension:
        raise InputError(
            f"{path} has sizes {fields['sizes']!r:.60} for dimension {dimension:g}: expected one per axis."
        )
    axes = _axes(fields, len(sizes), path)
    _check_axes(fields, sizes, axes, path)
    shape = one_volume([int(sizes[axis]) for axis in axes], label, warnings)
    dtype = _dtype(fields, path)
    affine = _affine(fields, axes, path, warnings)
    if fault := affine_fault(affine):
        raise InputError(no_affine_message(f"{label} has space directions of which the affine {fault}"))
    warnings.extend(warn_about_axes(affine, spacing_of(affine), shape))
    forms = Forms.of_affine(affine)
    affine = np.asarray(forms.template.get_sform(), dtype=np.float64)  # as files on this grid will state it
    header = Header(shape, dtype, affine, forms, 1.0, 0.0, tuple(warnings))
    return NrrdFile(header, _stored(fields, end, header, path))


def _read_fields(path: Path) -> tuple[dict[str, str], int]:
    """Fields and key/value pairs by name, and the byte behind the header; that of the file's end if it is detached."""
    with reading(path, EXPECTED), open_file(path) as file:
        head = file.read(_MOST_HEADER)
    ends = [found.end() for found in (re.search(rb"\n\r?\n", head),) if found]
    end = ends[0] if ends else len(head)
    if not ends and len(head) == _MOST_HEADER:
        raise InputError(f"{path} has a header without an end: {EXPECTED}. Export the scan again.")
    fields: dict[str, str] = {}
    for line in head[:end].decode("latin-1").splitlines()[1:]:
        if not line or line.startswith("#"):
            continue
        key, pair, value = line.partition(":=")
        if not pair:
            found = _LINE.fullmatch(line)
            if found is None:
                raise InputError(
                    f"{path} is an NRRD file with the line {line!r:.60}: expected FIELD: VALUE. Export it again."
                )
            name = found[1].strip().lower()
            key, value = _ALIASES.get(name, name), found[2].strip()
            if key in fields:
                raise InputError(f"{path} states its {key} twice: expected it once. Export the scan again.")
        fields[key] = value
    return fields, end


def _axes(fields: Mapping[str, str], count: int, path: Path) -> list[int]:
    """The three axes of space. Raises InputError where there are more or fewer."""
    if "space directions" in fields:
        axes = [axis for axis, vector in enumerate(_directions(fields, count, path)) if vector is not None]
    elif "spacings" in fields:
        spacings = _numbers(fields, "spacings", path)
        axes = [axis for axis, spacing in enumerate(spacings) if not math.isnan(spacing)]
    else:
        raise InputError(f"{path} does not say how far apart its voxels are: expected space directions or spacings.")
    if len(axes) != 3 or max(axes) >= count:
        raise InputError(f"{path} has {len(axes)} axes in space: expected 3. Give a whole CT volume.")
    return axes


def _check_axes(fields: Mapping[str, str], sizes: Sequence[float], axes: Sequence[int], path: Path) -> None:
    """Raise InputError for more than one volume, or more than one number a voxel."""
    kinds = fields.get("kinds", "").split()
    for axis, size in enumerate(sizes):
        if axis not in axes and size != 1:
            kind = f" ({kinds[axis]})" if axis < len(kinds) else ""
            raise InputError(
                f"{path} has an axis of {size:g}{kind} beside those of space: expected one number a voxel, in HU. "
                "Split it and segment one volume."
            )


def _dtype(fields: Mapping[str, str], path: Path) -> np.dtype:
    name = _field(fields, "type", path).lower()
    code = next((code for code, names in _TYPES.items() if name in names), None)
    if code is None:
        raise InputError(f"{path} holds values of type {name!r:.40}: expected one real number a voxel, in HU.")
    order = fields.get("endian", "").lower()
    if code[1] != "1" and order not in ("little", "big"):
        raise InputError(f"{path} does not say its byte order: expected endian: little or big. Export the scan again.")
    return np.dtype(f"{'>' if order == 'big' else '<'}{code}")


def _affine(fields: Mapping[str, str], axes: Sequence[int], path: Path, warnings: list[str]) -> np.ndarray:
    """Voxel index -> RAS mm, float64 [4, 4]."""
    space, affine = fields.get("space", "").lower(), np.eye(4)
    if "space directions" in fields:
        columns = _directions(fields, max(axes) + 1, path)
        affine[:3, :3] = np.array([columns[axis] for axis in axes]).T
    else:
        spacings = _numbers(fields, "spacings", path)
        affine[:3, :3] = np.diag([spacings[axis] for axis in axes])
    if "space origin" in fields:
        affine[:3, 3] = _vector(fields["space origin"], "space origin", path)
    if space not in _TO_RAS or "space directions" not in fields:
        warnings.append(
            "The header does not say where its axes run: they are taken as left-posterior-superior, so left and right "
            "may be swapped."
        )
    signs = _TO_RAS.get(space, _TO_RAS["lps"])
    with np.errstate(over="ignore", invalid="ignore"):  # told by affine_fault
        affine[:3] *= np.array(signs, dtype=np.float64)[:, None] * _unit_mm(fields, path)
    return affine


def _unit_mm(fields: Mapping[str, str], path: Path) -> float:
    units = set(re.findall(r'"([^"]*)"', fields.get("space units", ""))) or {""}
    if len(units) > 1 or not units <= set(_UNITS_MM):
        raise InputError(f"{path} measures space in {', '.join(sorted(units))!r:.60}: expected mm.")
    return _UNITS_MM[units.pop()]


def _stored(fields: Mapping[str, str], end: int, header: Header, path: Path) -> Stored:
    """Where the voxels are. Raises InputError for an encoding or a place that is not read."""
    encoding = _field(fields, "encoding", path).lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise InputError(f"{path} is encoded as {encoding!r:.20}: expected raw or gzip. Save it with gzip.")
    packed, source = encoding != "raw", _voxels_path(fields, path)
    start = end if source == path else 0
    lines, skip = (int(_number(fields, name, path, 0)) for name in ("line skip", "byte skip"))
    if not 0 <= lines <= _MOST_SKIP or not -1 <= skip <= _MOST_SKIP or (skip < 0 and packed):
        raise InputError(f"{path} skips {lines} lines and {skip} bytes: expected none, or a little more.")
    with reading(source, EXPECTED):
        if lines:
            start = _behind_lines(source, start, lines)
        if skip < 0:
            wanted = math.prod(header.shape) * header.dtype.itemsize
            start, skip = max(start, os.path.getsize(source) - wanted), 0
    return Stored(source, skip, header.shape, header.dtype, 1.0, 0.0, start, packed)


def _behind_lines(path: Path, start: int, lines: int) -> int:
    with open_file(path) as file:
        file.seek(start)
        for line in itertools.islice(iter(lambda: file.readline(_MOST_HEADER), b""), lines):
            start += len(line)
    return start


def _voxels_path(fields: Mapping[str, str], path: Path) -> Path:
    """The file with the voxels: the header's own, or one in its folder or a folder inside it."""
    name = fields.get("data file")
    if name is None:
        return path
    if name.split()[:1] == ["LIST"] or "%" in name:
        raise InputError(f"{path} has its voxels in several files: expected one. Save it as one file.")
    parts = PurePosixPath(name).parts
    if not parts or "\\" in name or "\0" in name or ".." in parts or parts[0].startswith(("/", "~")) or ":" in parts[0]:
        raise InputError(f"{path} names the voxels' file {name!r:.80}: expected one in the same folder. Save it anew.")
    found = path.parent.joinpath(*parts)
    if not found.is_file():
        raise InputError(f"{path} has no voxels: expected {found.name} beside it. Keep both files together.")
    return found


def _directions(fields: Mapping[str, str], count: int, path: Path) -> list[list[float] | None]:
    """A vector per axis, None for one that is not of space."""
    text = fields["space directions"]
    words = [found[0] for found in _VECTOR.finditer(text)]
    if len(words) < count or _VECTOR.sub("", text).strip():
        raise InputError(f"{path} has space directions {text!r:.80}: expected a vector for each axis.")
    return [None if word == "none" else _vector(word, "space directions", path) for word in words]


def _vector(text: str, name: str, path: Path) -> list[float]:
    try:
        numbers = [float(word) for word in text.strip("() ").split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 3:
        raise InputError(f"{path} has the vector {text!r:.60} in its {name}: expected three numbers.")
    return numbers


def _numbers(fields: Mapping[str, str], name: str, path: Path) -> list[float]:
    text = _field(fields, name, path)
    try:
        return [float(word) for word in text.split()]
    except ValueError as error:
        raise InputError(f"{path} has {name} {text!r:.60}: expected numbers. Export the scan again.") from error


def _number(fields: Mapping[str, str], name: str, path: Path, default: float | None = None) -> float:
    if name not in fields and default is not None:
        return default
    numbers = _numbers(fields, name, path)
    if len(numbers) != 1 or not math.isfinite(numbers[0]):
        raise InputError(f"{path} has {name} {fields[name]!r:.60}: expected one number. Export the scan again.")
    return numbers[0]


def _field(fields: Mapping[str, str], name: str, path: Path) -> str:
    if name not in fields:
        raise InputError(f"{path} has no {name} in its header: {EXPECTED}. Export the scan again.")
    return fields[name]
