"""What a NIfTI header must say before its voxels are worth reading, and what is worth a warning."""

from __future__ import annotations

import math
from collections.abc import Iterator

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError, SpatialImage

from umlite.errors import InputError
from umlite.volume.geometry import Grid, spacing_of

_MOST_SPACING_MM = 10.0
_LEAST_SHEAR = 1e-3
_SINGULAR = 1e-6
_FORMS_DIFFER = 5e-4
"""Of the scan's diagonal: what a quaternion stored as float32 may be off near a half turn."""
_UNITS = {0: "unknown", 1: "metre", 2: "mm", 3: "micron"}
_DIRECTIONS = {"L": "left", "R": "right", "P": "posterior", "A": "anterior", "I": "inferior", "S": "superior"}


def header_of(image: SpatialImage) -> nib.Nifti1Header:
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


def check_header(
    header: nib.Nifti1Header, label: str, image: SpatialImage | None = None
) -> tuple[tuple[int, int, int], np.dtype]:
    """Shape and stored dtype of one volume of plain numbers, sizes and units in order. Raises InputError.

    header: with nothing repaired. image: where shape and dtype come from in place of the header.
    """
    shape = _stored_shape(header, label) if image is None else tuple(int(n) for n in image.shape)
    if min(shape, default=0) < 1:
        raise InputError(f"{label} has shape {_times(shape)}: expected at least one voxel in every axis.")
    if len(shape) < 3:
        raise InputError(f"{label} is {len(shape)}-D ({_times(shape)}): expected a 3-D scan. Give the whole series.")
    volumes = math.prod(shape[3:])
    if volumes > 1:
        raise InputError(
            f"{label} holds {volumes} volumes ({_times(shape)}): expected one. Split it and segment one volume."
        )
    dtype = _stored_dtype(header, label) if image is None else np.dtype(getattr(image.dataobj, "dtype", object))
    if dtype.kind not in "iuf":
        kind = "complex numbers" if dtype.kind == "c" else "colours" if dtype.names else f"{dtype} values"
        raise InputError(f"{label} holds {kind}: expected one real number a voxel, in HU. Export the CT itself.")
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
    return (shape[0], shape[1], shape[2]), dtype


def choose_affine(header: nib.Nifti1Header, given: np.ndarray | None, label: str) -> tuple[np.ndarray, list[str]]:
    """Affine float64 [4, 4] (`given`, else sform, else qform, else nibabel's guess) and warnings about the choice.

    Raises InputError when it is singular or not finite.
    """
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


def warn_about_header(header: nib.Nifti1Header, affine: np.ndarray, shape: tuple[int, ...]) -> Iterator[str]:
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


def _stored_shape(header: nib.Nifti1Header, label: str) -> tuple[int, ...]:
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise InputError(f"{label} says that it has {count} axes: expected 3. The header is damaged; export it again.")
    return tuple(int(n) for n in header["dim"][1 : count + 1])


def _stored_dtype(header: nib.Nifti1Header, label: str) -> np.dtype:
    try:
        return np.dtype(header.get_data_dtype())
    except (HeaderDataError, KeyError) as error:
        raise InputError(
            f"{label} has the unknown data type {int(header['datatype'])}: expected a number type of NIfTI. "
            f"Export it again."
        ) from error


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


def _times(numbers: object) -> str:
    return " x ".join(f"{n:g}" for n in np.asarray(numbers).tolist())
