"""Where a NIfTI header places its voxels: which form is used, what is mended, in which unit.

Rules: nifti1.h (qfac 0 stands for 1; a form whose code is 0 says nothing; sform before qform), nibabel's repairs of
headers (signs of pixdim, unknown qfac), and nifti_clib's of quaternions that rounding made longer than 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from nibabel.quaternions import fillpositive, quat2mat
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import shape_zoom_affine

from umlite.errors import InputError
from umlite.volume.forms import Forms
from umlite.volume.geometry import Grid, Size, spacing_of
from umlite.volume.plausibility import is_body_sized

_LEAST_SHEAR = 1e-3
_SINGULAR = 1e-6
_MOST_ENTRY, _LEAST_STEP = 1e9, 1e-9
_LONGEST_QUATERNION = 1.01
"""Squared length of what may be a rounded rotation: three digits of each of its numbers."""
_FORMS_DIFFER = 5e-4
"""Share of the scan's diagonal: the error of a quaternion stored as float32 near a half turn."""
_KNOWN_CODES = range(6)
_UNITS = {1: ("metres", "meter", 1000.0), 3: ("microns", "micron", 0.001)}
_DIRECTIONS = {"L": "left", "R": "right", "P": "posterior", "A": "anterior", "I": "inferior", "S": "superior"}


@dataclass(frozen=True, eq=False)
class Placement:
    """Where voxels lie.

    affine: float64 [4, 4], voxel index -> RAS mm. forms: what files on the grid repeat. warnings: one sentence each.
    """

    affine: np.ndarray
    forms: Forms
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Form:
    """One of the two statements. fault: why it cannot be used ("is singular"), empty where it can."""

    name: str
    code: int
    affine: np.ndarray
    fault: str


def place(header: nib.Nifti1Header, shape: Size, label: str, given: np.ndarray | None = None) -> Placement:
    """Choose the affine of a header: sform, else qform, else nibabel's guess from the spacing.

    given: an affine that goes before what the header says, in the header's unit. Raises InputError where there is none
    that can be used.
    """
    header = header.copy()
    if given is not None:
        if fault := affine_fault(given):
            raise InputError(no_affine_message(f"{label} has an affine that {fault}"))
        _bring_up_to_date(header, given)
    warnings = _mend_spacing(header)
    sform, qform = _read_sform(header), _read_qform(header, warnings)
    chosen = _choose(sform, qform)
    if chosen is None:
        chosen = _guess(header, shape, label, (sform, qform))
        warnings.append(_no_orientation_message(chosen.affine))
    zooms = np.array(header["pixdim"][1:4], dtype=np.float64)
    warnings.extend(_keep_one(header, chosen, sform, qform))
    if all(form.code in _KNOWN_CODES[1:] and not form.fault for form in (sform, qform)):
        warnings.extend(_compare(sform.affine, qform.affine, shape))
    affine = np.array(chosen.affine if given is None else given, dtype=np.float64)
    unit, scale = _unit(header, spacing_of(affine) * shape, warnings)
    wrong = ~(np.isfinite(zooms) & (zooms > 0))
    header["pixdim"][1:4][wrong] = spacing_of(affine)[wrong]
    affine[:3] *= scale
    warnings = [*warn_about_axes(affine, zooms * scale, shape), *warnings]
    return Placement(affine, Forms.of_header(header, unit), tuple(warnings))


def _bring_up_to_date(header: nib.Nifti1Header, given: np.ndarray) -> None:
    """Make a header's forms say `given`, where they say something else."""
    for name in ("sform_code", "qform_code"):
        if int(header[name]) not in _KNOWN_CODES:
            header[name] = 0
    try:
        stale = not np.allclose(given, header.get_best_affine())
    except (HeaderDataError, ValueError):
        stale = True
    if stale:
        header.set_sform(given, code="aligned")
        header.set_qform(given, code="unknown")


def _mend_spacing(header: nib.Nifti1Header) -> list[str]:
    zooms = np.array(header["pixdim"][1:4])
    if not (zooms < 0).any():
        return []
    header["pixdim"][1:4] = np.abs(zooms)
    return [f"The header's spacing (pixdim) is {_times(zooms)}: its signs are left out."]


def _read_sform(header: nib.Nifti1Header) -> _Form:
    affine = np.asarray(header.get_sform(), dtype=np.float64)
    return _Form("sform", int(header["sform_code"]), affine, affine_fault(affine))


def _read_qform(header: nib.Nifti1Header, warnings: list[str]) -> _Form:
    """The qform by the standard's rules; what these mend is mended in the header, and told where the qform counts."""
    code, told = int(header["qform_code"]), []
    qfac = float(header["pixdim"][0])
    if qfac not in (-1, 1):
        told.append(f"The header's qfac (pixdim[0]) is {qfac:g}: taken as 1, as the standard says of 0.")
        header["pixdim"][0] = qfac = 1
    quaternion = np.array([header[f"quatern_{axis}"] for axis in "bcd"], dtype=np.longdouble)
    square = float(quaternion @ quaternion)
    if 1 + abs(float(header.quaternion_threshold)) <= square <= _LONGEST_QUATERNION:
        told.append(f"The qform's quaternion is longer than 1 by {math.sqrt(square) - 1:.1g}: shortened.")
        quaternion /= math.sqrt(square)
        for axis, value in zip("bcd", quaternion, strict=True):
            header[f"quatern_{axis}"] = value
    affine = np.eye(4)
    affine[:3, 3] = [header[f"qoffset_{axis}"] for axis in "xyz"]
    zooms = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    if not math.isfinite(square) or not np.isfinite(affine).all():
        fault = "has NaN, infinite or absurd entries"
    elif square > _LONGEST_QUATERNION:
        fault = "is no rotation"
    elif not (np.isfinite(zooms) & (zooms > 0)).all():
        fault = f"has a voxel spacing of {_times(zooms)} mm, not positive numbers"
    else:
        whole = np.r_[0, quaternion] if square >= 1 else fillpositive(quaternion, header.quaternion_threshold)
        affine[:3, :3] = quat2mat(whole) @ np.diag(zooms * [1, 1, qfac])
        fault = affine_fault(affine)
    if code > 0:
        warnings.extend(told)
    return _Form("qform", code, affine, fault)


def _choose(sform: _Form, qform: _Form) -> _Form | None:
    """The first stated form without a fault; one with a code that the standard does not know comes last."""
    usable = [form for form in (sform, qform) if form.code > 0 and not form.fault]
    return min(usable, key=lambda form: form.code not in _KNOWN_CODES, default=None)


def _guess(header: nib.Nifti1Header, shape: Size, label: str, forms: tuple[_Form, _Form]) -> _Form:
    """nibabel's: along the axes, x to the left, around the centre. Raises InputError where a form was stated."""
    for form in forms:
        if form.code > 0:
            raise InputError(no_affine_message(f"{label} has a {form.name} that {form.fault}"))
    zooms = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        affine = np.asarray(shape_zoom_affine(shape, zooms, True), dtype=np.float64)
    if not (zooms > 0).all() or affine_fault(affine):
        raise InputError(
            f"{label} has a voxel spacing of {_times(zooms)} mm and no affine: expected positive numbers (pixdim in "
            f"the header). Export the scan again, or mend its header."
        )
    return _Form("guess", 0, affine, "")


def _keep_one(header: nib.Nifti1Header, chosen: _Form, sform: _Form, qform: _Form) -> Iterator[str]:
    """Take the forms that are not used for a fault or an unknown code out of the header, and say so."""
    for form in (sform, qform):
        unknown = form.code not in _KNOWN_CODES
        if form is chosen:
            if unknown:
                yield f"{form.name}_code is {form.code}, unknown to the standard; the {form.name} is used all the same."
                header[f"{form.name}_code"] = 2
        elif unknown or (form.code > 0 and form.fault):
            why = f"has the unknown code {form.code}" if unknown else form.fault
            yield f"The {form.name} {why} and is not used" + (f"; the {chosen.name} is." if chosen.code > 0 else ".")
            (header.set_sform if form is sform else header.set_qform)(chosen.affine, code=0)


def _compare(sform: np.ndarray, qform: np.ndarray, shape: Size) -> Iterator[str]:
    corners = Grid(shape, sform).corners()
    apart = np.linalg.norm(((sform - qform) @ corners)[:3], axis=0).max()
    diagonal = np.linalg.norm((sform @ (corners[:, -1] - corners[:, 0]))[:3])
    if not apart <= _FORMS_DIFFER * diagonal + 1e-3:
        yield f"sform and qform place the scan up to {apart:.3g} mm apart; the sform is used."


def _unit(header: nib.Nifti1Header, extent: np.ndarray, warnings: list[str]) -> tuple[str, float]:
    """NIfTI's word for the unit of space, and mm in one of it. extent: of the scan, [3], in that unit."""
    unit = int(header["xyzt_units"]) & 7
    if unit in (0, 2):
        return "mm", 1.0
    if unit not in _UNITS:
        warnings.append(f"The header's unit of space has the unknown code {unit}: mm are assumed.")
        return "mm", 1.0
    plural, word, scale = _UNITS[unit]
    if is_body_sized(extent) and not is_body_sized(extent * scale):
        warnings.append(f"The header measures space in {plural}, but only mm make a body of it: mm are assumed.")
        return "mm", 1.0
    warnings.append(f"The header measures space in {plural}: converted to mm.")
    return word, scale


def warn_about_axes(affine: np.ndarray, zooms: np.ndarray, shape: Size) -> Iterator[str]:
    spacing = spacing_of(affine)
    axes = affine[:3, :3] / spacing
    if np.abs(axes.T @ axes - np.eye(3)).max() > _LEAST_SHEAR:
        yield "The affine is sheared (gantry tilt?): the scan is resampled to right angles and masks back to its own."
    if not np.abs(zooms / spacing - 1).max() <= 1e-2 and max(shape) > 1:
        yield f"The header's spacing, {_times(zooms)} mm, is not its affine's, {_times(spacing)} mm, which is used."


def affine_fault(affine: np.ndarray) -> str:
    """Why an affine cannot be used, empty where it can."""
    if not (np.abs(affine) <= _MOST_ENTRY).all():
        return "has NaN, infinite or absurd entries"
    spacing = spacing_of(affine)
    if (spacing < _LEAST_STEP).any() or abs(np.linalg.det(affine[:3, :3] / spacing)) < _SINGULAR:
        return "is singular"
    return ""


def no_affine_message(found: str) -> str:
    return f"{found}: expected an affine of three independent axes. Export the scan again."


def _no_orientation_message(affine: np.ndarray) -> str:
    codes = [_DIRECTIONS[code] for code in nib.aff2axcodes(affine)]
    return (
        f"The header gives no orientation (no sform, no qform): its axes are taken to run to the {codes[0]}, "
        f"{codes[1]} and {codes[2]}, so left and right may be swapped."
    )


def _times(numbers: object) -> str:
    return " x ".join(f"{n:g}" for n in np.asarray(numbers).tolist())
