"""What a NIfTI header says of a scan: read once, by the standard's rules, before its voxels are worth reading."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.spatialimages import HeaderDataError, SpatialImage

from umlite.errors import InputError
from umlite.volume.forms import Forms
from umlite.volume.placement import Placement, place

_MOST_VOXELS = 1 << 33
_MOST_PLANE = 1 << 26
"""2048 x 2048 x 2048 voxels and planes of 8192 x 8192: more than any CT has, so that memory stays bounded."""
_LABEL_INTENT = 1002


@dataclass(frozen=True, eq=False)
class Header:
    """The description of one volume of plain numbers at a known place.

    shape: [X, Y, Z]. dtype: of a stored voxel. slope, inter: from stored numbers to HU.
    affine: float64 [4, 4], voxel index -> RAS mm. forms: how files on the same grid state it.
    warnings: one sentence for each unusual thing.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    affine: np.ndarray
    forms: Forms
    slope: float
    inter: float
    warnings: tuple[str, ...]


def describe(header: nib.Nifti1Header, label: str) -> Header:
    """Read a NIfTI header as it was stored, nothing repaired. label: what messages call the scan. Raises InputError."""
    warnings: list[str] = []
    shape = one_volume(_stored_shape(header, label, warnings), label, warnings)
    dtype = number_type(_stored_dtype(header, label), label)
    slope, inter = _scaling(header, label, warnings)
    if int(header["intent_code"]) == _LABEL_INTENT:
        warnings.append("The header calls its numbers labels (intent code 1002): expected HU of a CT.")
    return _described(shape, dtype, slope, inter, place(header, shape, label), warnings)


def describe_image(image: SpatialImage, label: str) -> Header:
    """As `describe`, of an image in memory: shape, type, scaling and affine are the image's, not its header's.

    Raises InputError.
    """
    warnings: list[str] = []
    data = image.dataobj
    shape = one_volume([int(n) for n in image.shape], label, warnings)
    dtype = number_type(np.dtype(getattr(data, "dtype", np.float64)), label)
    slope, inter = (float(data.slope), float(data.inter)) if type(data) is ArrayProxy else (1.0, 0.0)
    header = image.header if isinstance(image.header, nib.Nifti1Header) else nib.Nifti1Header()
    return _described(shape, dtype, slope, inter, place(header, shape, label, image.affine), warnings)


def _described(
    shape: tuple[int, int, int], dtype: np.dtype, slope: float, inter: float, at: Placement, warnings: list[str]
) -> Header:
    return Header(shape, dtype, at.affine, at.forms, slope, inter, (*at.warnings, *warnings))


def _stored_shape(header: nib.Nifti1Header, label: str, warnings: list[str]) -> list[int]:
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise InputError(f"{label} says that it has {count} axes: expected 3. The header is damaged; export it again.")
    shape = [int(n) for n in header["dim"][1 : count + 1]]
    if min(shape[3:], default=1) < 1:
        warnings.append(f"The header's shape is {_times(shape)}: sizes below 1 after the third count as 1.")
    return [*shape[:3], *(max(n, 1) for n in shape[3:])]


def one_volume(sizes: Sequence[int], label: str, warnings: list[str]) -> tuple[int, int, int]:
    """The three axes of space; leading ones of one voxel go where they push one of these out of its place."""
    shape = list(sizes)
    if min(shape, default=0) < 1:
        raise InputError(f"{label} has shape {_times(shape)}: expected at least one voxel in every axis.")
    if len(shape) < 3:
        raise InputError(f"{label} is {len(shape)}-D ({_times(shape)}): expected a 3-D scan. Give the whole series.")
    while len(shape) > 3 and shape[-1] == 1:
        del shape[-1]
    while len(shape) > 3 and shape[0] == 1:
        del shape[0]
    if len(shape) > 3:
        raise InputError(
            f"{label} holds {math.prod(shape[3:])} volumes ({_times(sizes)}): expected one. Split it and segment one "
            f"volume."
        )
    if sizes[:3] != shape:
        warnings.append(f"Its shape is {_times(sizes)}: the leading axes of one voxel were left out.")
    if math.prod(shape) > _MOST_VOXELS or shape[0] * shape[1] > _MOST_PLANE:
        raise InputError(f"{label} claims {_times(shape)} voxels: expected no more than a CT has. Export it again.")
    return shape[0], shape[1], shape[2]


def _stored_dtype(header: nib.Nifti1Header, label: str) -> np.dtype:
    try:
        dtype = np.dtype(header.get_data_dtype())
    except (HeaderDataError, KeyError):
        dtype = np.dtype("V")
    if dtype.itemsize == 0:
        raise InputError(
            f"{label} has the unknown data type {int(header['datatype'])}: expected a number type of NIfTI. "
            f"Export it again."
        )
    return dtype


def number_type(dtype: np.dtype, label: str) -> np.dtype:
    if dtype.kind not in "iuf":
        kind = "complex numbers" if dtype.kind == "c" else "colours" if dtype.names else f"{dtype} values"
        raise InputError(f"{label} holds {kind}: expected one real number a voxel, in HU. Export the CT itself.")
    return dtype


def _scaling(header: nib.Nifti1Header, label: str, warnings: list[str]) -> tuple[float, float]:
    """Slope and intercept; the standard and nibabel apply none where the slope is 0 or no number."""
    try:
        slope, inter = header.get_slope_inter()
    except HeaderDataError as error:
        raise InputError(f"{label} has an {error}: expected a finite one. Export the scan again.") from error
    if slope is not None:
        return slope, inter
    unused = float(header["scl_inter"])
    if math.isfinite(unused) and unused != 0:
        stated = float(header["scl_slope"])
        warnings.append(f"The header's scl_slope is {stated:g}: its scl_inter, {unused:g}, is not used.")
    return 1.0, 0.0


def _times(numbers: Sequence[int]) -> str:
    return " x ".join(f"{n:g}" for n in numbers)
