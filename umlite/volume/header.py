"""What a NIfTI header says of a scan: read once, checked before its voxels are worth reading."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError, SpatialImage

from umlite.errors import InputError
from umlite.volume.forms import Forms
from umlite.volume.geometry import Grid, spacing_of

_MOST_SPACING_MM = 10.0
_LEAST_SHEAR = 1e-3
_SINGULAR = 1e-6
_FORMS_DIFFER = 5e-4
"""Share of the scan's diagonal: the error of a quaternion stored as float32 near a half turn."""
_UNITS = {0: "unknown", 1: "metre", 2: "mm", 3: "micron"}
_DIRECTIONS = {"L": "left", "R": "right", "P": "posterior", "A": "anterior", "I": "inferior", "S": "superior"}


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
    shape = _one_volume(_stored_shape(header, label), label)
    return _described(header, shape, _number_type(_stored_dtype(header, label), label), None, label)


def describe_image(image: SpatialImage, label: str) -> Header:
    """As `describe`, of an image in memory: shape, type and affine are the image's, not its header's.

    Raises InputError.
    """
    shape = _one_volume(tuple(int(n) for n in image.shape), label)
    dtype = _number_type(np.dtype(getattr(image.dataobj, "dtype", object)), label)
    return _described(_header_of(image), shape, dtype, image.affine, label)


def _described(
    header: nib.Nifti1Header, shape: tuple[int, int, int], dtype: np.dtype, given: np.ndarray | None, label: str
) -> Header:
    _check_spacing(header, label)
    affine, warnings = _choose_affine(header, given, label)
    slope, inter = header.get_slope_inter()
    slope, inter = 1.0 if slope is None else slope, 0.0 if inter is None else inter
    warnings = [*_warn_about_size(header, affine, shape), *warnings]
    return Header(shape, dtype, affine, Forms.of_header(header), slope, inter, tuple(warnings))


def _header_of(image: SpatialImage) -> nib.Nifti1Header:
    """A copy of a NIfTI image's header, its affine brought up to date; a new NIfTI-1 header for other images."""
    affine = image.affine
    usable = affine is not None and np.isfinite(affine).all() and np.linalg.det(affine[:3, :3]) != 0
    if isinstance(image.header, nib.Nifti1Header):
        header = image.header.copy()
        stale = usable and not np.allclose(affine, header.get_best_affine())
    else:
        header, stale = nib.Nifti1Header(), usable
        header.set_data_shape(image.shape)
    if stale:
        header.set_sform(affine, code="aligned")
        header.set_qform(affine, code="unknown")
    return header


def _stored_shape(header: nib.Nifti1Header, label: str) -> tuple[int, ...]:
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise InputError(f"{label} says that it has {count} axes: expected 3. The header is damaged; export it again.")
    return tuple(int(n) for n in header["dim"][1 : count + 1])


def _one_volume(shape: tuple[int, ...], label: str) -> tuple[int, int, int]:
    if min(shape, default=0) < 1:
        raise InputError(f"{label} has shape {_times(shape)}: expected at least one voxel in every axis.")
    if len(shape) < 3:
        raise InputError(f"{label} is {len(shape)}-D ({_times(shape)}): expected a 3-D scan. Give the whole series.")
    volumes = math.prod(shape[3:])
    if volumes > 1:
        raise InputError(
            f"{label} holds {volumes} volumes ({_times(shape)}): expected one. Split it and segment one volume."
        )
    return shape[0], shape[1], shape[2]


def _stored_dtype(header: nib.Nifti1Header, label: str) -> np.dtype:
    try:
        return np.dtype(header.get_data_dtype())
    except (HeaderDataError, KeyError) as error:
        raise InputError(
            f"{label} has the unknown data type {int(header['datatype'])}: expected a number type of NIfTI. "
            f"Export it again."
        ) from error


def _number_type(dtype: np.dtype, label: str) -> np.dtype:
    if dtype.kind not in "iuf":
        kind = "complex numbers" if dtype.kind == "c" else "colours" if dtype.names else f"{dtype} values"
        raise InputError(f"{label} holds {kind}: expected one real number a voxel, in HU. Export the CT itself.")
    return dtype


def _check_spacing(header: nib.Nifti1Header, label: str) -> None:
    zooms = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    if not np.isfinite(zooms).all() or (zooms <= 0).any():
        raise InputError(
            f"{label} has a voxel spacing of {' x '.join(f'{z:g}' for z in zooms)} mm: expected positive numbers "
            f"(pixdim in the header). Export the scan again, or mend its header."
        )
    unit = int(header["xyzt_units"]) & 7
    if unit not in (0, 2):
        raise InputError(
            f"{label} measures space in {_UNITS.get(unit, f'unit {unit}')}s: expected mm. Convert it to mm."
        )


def _choose_affine(header: nib.Nifti1Header, given: np.ndarray | None, label: str) -> tuple[np.ndarray, list[str]]:
    """Affine float64 [4, 4] (`given`, else sform, else qform, else nibabel's guess) and warnings about the choice."""
    warnings = []
    sform, qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    try:
        affine = np.array(header.get_best_affine() if given is None else given, dtype=np.float64)
    except (HeaderDataError, ValueError) as error:
        raise InputError(
            f"{label} has a qform that is no rotation ({error}): expected a valid affine. Export the scan again."
        ) from error
    if not np.isfinite(affine).all():
        raise InputError(f"{label} has an affine with NaN or infinite entries: expected numbers. Export it again.")
    spacing = spacing_of(affine)
    if (spacing == 0).any() or abs(np.linalg.det(affine[:3, :3] / spacing)) < _SINGULAR:
        raise InputError(f"{label} has a singular affine: expected three independent axes. Export the scan again.")
    if not sform and not qform:
        codes = [_DIRECTIONS[code] for code in nib.aff2axcodes(affine)]
        warnings.append(
            f"The header gives no orientation (no sform, no qform): its axes are taken to run to the {codes[0]}, "
            f"{codes[1]} and {codes[2]}, so left and right may be swapped."
        )
    if sform and qform:
        warnings.extend(_compare_forms(header))
    return affine, warnings


def _compare_forms(header: nib.Nifti1Header) -> Iterator[str]:
    try:
        qform = header.get_qform()
    except (HeaderDataError, ValueError):
        yield "The qform is no rotation and is not used; the sform is."
        return
    sform = header.get_sform()
    shape = [max(int(n), 1) for n in header["dim"][1:4]]
    corners = Grid((shape[0], shape[1], shape[2]), sform).corners()
    apart = np.linalg.norm(((sform - qform) @ corners)[:3], axis=0).max()
    diagonal = np.linalg.norm((sform @ (corners[:, -1] - corners[:, 0]))[:3])
    if not apart <= _FORMS_DIFFER * diagonal + 1e-3:
        yield f"sform and qform place the scan up to {apart:.3g} mm apart; the sform is used."


def _warn_about_size(header: nib.Nifti1Header, affine: np.ndarray, shape: tuple[int, ...]) -> Iterator[str]:
    """One sentence for each unusual thing about the voxels' size and shape."""
    spacing = spacing_of(affine)
    if (spacing > _MOST_SPACING_MM).any():
        yield f"Voxels of {_times(spacing)} mm are over 10 mm apart: expect coarse masks."
    axes = affine[:3, :3] / spacing
    if np.abs(axes.T @ axes - np.eye(3)).max() > _LEAST_SHEAR:
        yield "The affine is sheared (gantry tilt?): the scan is resampled to right angles and masks back to its own."
    zooms = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    if np.abs(zooms / spacing - 1).max() > 1e-2 and max(shape) > 1:
        yield f"The header's spacing, {_times(zooms)} mm, is not its affine's, {_times(spacing)} mm, which is used."


def _times(numbers: object) -> str:
    return " x ".join(f"{n:g}" for n in np.asarray(numbers).tolist())
