"""A header's place is read by the rules of the standard and of nibabel, and what was mended is told."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umlite.errors import InputError
from umlite.volume.placement import Placement, place

SHAPE = (106, 80, 46)
AFFINE = nib.affines.from_matvec(np.diag([-3.0, -3.0, 3.0]), (159, 120, -70))
TURN = nib.affines.from_matvec(nib.eulerangles.euler2mat(z=np.pi) @ np.diag([3.0, 3, 3]), (159, 120, -70))


def header_of(
    affine: np.ndarray = AFFINE, qform: int = 1, sform: int = 1, kind: type = nib.Nifti1Header
) -> nib.Nifti1Header:
    header = kind()
    header.set_data_shape(SHAPE)
    header.set_qform(affine, code=qform)
    header.set_sform(affine, code=sform)
    return header


def placed(header: nib.Nifti1Header, **fields: object) -> Placement:
    for name, value in fields.items():
        header[name] = value
    return place(header, SHAPE, "scan.nii")


def masks_affine(found: Placement) -> np.ndarray:
    """Where nibabel would put a mask of the scan."""
    return nib.Nifti1Header(found.forms.header(SHAPE, np.dtype(np.uint8)).binaryblock).get_best_affine()


def pixdim(*values: float) -> list[float]:
    return [*values, 0, 0, 0, 0][:8]


@pytest.mark.parametrize("kind", [nib.Nifti1Header, nib.Nifti2Header])
@pytest.mark.parametrize("affine", [AFFINE, TURN])
@pytest.mark.parametrize(("qform", "sform"), [(1, 1), (0, 1), (1, 0), (3, 4)])
def test_whole_headers_are_read_in_silence(kind: type, affine: np.ndarray, qform: int, sform: int) -> None:
    header = header_of(affine, qform, sform, kind)
    found = placed(header)
    np.testing.assert_array_equal(found.affine, header.get_best_affine())
    assert found.warnings == ()
    for field in ("pixdim", "sform_code", "qform_code", "srow_x", "quatern_b", "quatern_d", "qoffset_z"):
        np.testing.assert_array_equal(found.forms.template[field], header[field])


@pytest.mark.parametrize("qfac", [0, np.nan, 7, -2])
@pytest.mark.parametrize("sform", [0, 1])
def test_an_unknown_qfac_is_one(qfac: float, sform: int) -> None:
    found = placed(header_of(sform=sform), pixdim=pixdim(qfac, 3, 3, 3))
    np.testing.assert_allclose(found.affine, AFFINE)
    np.testing.assert_allclose(masks_affine(found), AFFINE)
    assert f"qfac (pixdim[0]) is {qfac:g}: taken as 1" in " ".join(found.warnings)
    assert len(found.warnings) == 1


def test_an_unused_qfac_is_not_told() -> None:
    assert placed(header_of(qform=0), pixdim=pixdim(0, 3, 3, 3)).warnings == ()


@pytest.mark.parametrize("longer", [4e-7, 1e-5, 2e-3])
def test_a_quaternion_that_rounding_made_too_long(longer: float) -> None:
    header = header_of(TURN, sform=0)
    header["quatern_d"] *= np.sqrt(1 + longer)
    found = placed(header)
    np.testing.assert_allclose(found.affine, TURN, atol=1e-4)
    np.testing.assert_allclose(masks_affine(found), TURN, atol=1e-4)
    assert "quaternion is longer than 1" in " ".join(found.warnings)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"srow_x": [0] * 4, "srow_y": [0] * 4, "srow_z": [0] * 4}, "is singular"),
        ({"srow_z": [-3, 0, 0, 0]}, "is singular"),
        ({"srow_z": [0, 0, 1e-30, 0]}, "is singular"),
        ({"srow_y": [0, np.nan, 0, 0]}, "has NaN"),
        ({"srow_y": [0, 3, 0, np.inf]}, "has NaN, infinite"),
        ({"srow_y": [0, 1e30, 0, 0]}, "has NaN, infinite or absurd entries"),
    ],
)
def test_a_broken_sform_beside_a_good_qform(fields: dict[str, object], why: str) -> None:
    found = placed(header_of(), **fields)
    np.testing.assert_allclose(found.affine, AFFINE)
    np.testing.assert_allclose(masks_affine(found), AFFINE)
    [warning] = found.warnings
    assert f"The sform {why}" in warning
    assert warning.endswith("and is not used; the qform is.")
    with pytest.raises(InputError, match=why):
        placed(header_of(qform=0), **fields)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"quatern_b": 3}, "is no rotation"),
        ({"quatern_c": np.nan}, "has NaN"),
        ({"qoffset_y": np.inf}, "has NaN, infinite"),
        ({"pixdim": pixdim(1, 3, 0, 3)}, "has a voxel spacing of 3 x 0 x 3 mm"),
        ({"pixdim": pixdim(1, 3, np.nan, 3)}, "has a voxel spacing of 3 x nan x 3 mm"),
    ],
)
def test_a_broken_qform_beside_a_good_sform(fields: dict[str, object], why: str) -> None:
    found = placed(header_of(), **fields)
    np.testing.assert_array_equal(found.affine, AFFINE)
    np.testing.assert_array_equal(masks_affine(found), AFFINE)
    assert f"The qform {why}" in " ".join(found.warnings)
    assert "is not used; the sform is." in " ".join(found.warnings)
    assert found.forms.template["qform_code"] == 0
    with pytest.raises(InputError, match=why):
        placed(header_of(sform=0), **fields)


@pytest.mark.parametrize("spacing", [(-3, 3, 3), (3, -3, -3), (0, 3, 3), (np.nan, 3, 3), (3, np.inf, 3)])
def test_a_wrong_spacing_beside_a_good_sform(spacing: tuple[float, float, float]) -> None:
    found = placed(header_of(qform=0), pixdim=pixdim(1, *spacing))
    np.testing.assert_array_equal(found.affine, AFFINE)
    np.testing.assert_array_equal(found.forms.template["pixdim"][1:4], [3, 3, 3])
    [warning] = found.warnings
    assert f"{spacing[0]:g} x {spacing[1]:g} x {spacing[2]:g}" in warning
    assert "signs are left out" in warning or "is not its affine's, 3 x 3 x 3 mm, which is used" in warning


def test_signs_of_a_spacing_are_left_out() -> None:
    found = placed(header_of(sform=0), pixdim=pixdim(1, 3, -3, 3))
    np.testing.assert_allclose(found.affine, AFFINE)
    assert found.warnings == ("The header's spacing (pixdim) is 3 x -3 x 3: its signs are left out.",)


def test_no_form_at_all() -> None:
    found = placed(header_of(qform=0, sform=0))
    np.testing.assert_array_equal(found.affine, header_of(qform=0, sform=0).get_base_affine())
    assert "left and right may be swapped" in found.warnings[0]


@pytest.mark.parametrize("wrong", [0, np.nan, np.inf, 1e-30, 1e30])
@pytest.mark.parametrize("kind", [nib.Nifti1Header, nib.Nifti2Header])
def test_no_form_and_a_wrong_spacing(wrong: float, kind: type) -> None:
    with pytest.raises(
        InputError, match=f"3 x {wrong:g} x 3 mm and no affine: expected positive numbers".replace("+", ".")
    ):
        placed(header_of(qform=0, sform=0, kind=kind), pixdim=pixdim(1, 3, wrong, 3))


@pytest.mark.parametrize("code", [-1, 6, 99])
def test_unknown_codes(code: int) -> None:
    """A form whose code the standard does not know counts where there is no other."""
    other = AFFINE.copy()
    other[:3, 3] += 50
    header = header_of()
    header.set_sform(other, code=1)
    found = placed(header, sform_code=code)
    np.testing.assert_allclose(found.affine, AFFINE)
    assert found.warnings == (f"The sform has the unknown code {code} and is not used; the qform is.",)
    if code > 0:
        found = placed(header, sform_code=code, qform_code=0)
        np.testing.assert_allclose(found.affine, other)
        np.testing.assert_allclose(masks_affine(found), other)
        assert found.warnings == (f"sform_code is {code}, unknown to the standard; the sform is used all the same.",)


def scaled(unit: str, factor: float) -> nib.Nifti1Header:
    header = header_of(np.diag([factor, factor, factor, 1]) @ AFFINE)
    header.set_xyzt_units(unit)
    return header


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e-3), ("micron", 1e3)])
def test_units_are_converted_and_kept_for_results(unit: str, factor: float) -> None:
    found = placed(scaled(unit, factor))
    np.testing.assert_allclose(found.affine, AFFINE, rtol=1e-6)
    np.testing.assert_allclose(masks_affine(found), np.diag([factor, factor, factor, 1]) @ AFFINE, rtol=1e-6)
    assert found.forms.template.get_xyzt_units()[0] == unit
    assert "converted to mm" in " ".join(found.warnings)


@pytest.mark.parametrize("unit", ["meter", "micron"])
def test_units_that_make_no_body(unit: str) -> None:
    found = placed(scaled(unit, 1))
    np.testing.assert_allclose(found.affine, AFFINE)
    assert found.forms.template.get_xyzt_units()[0] == "mm"
    assert "mm are assumed" in " ".join(found.warnings)


def test_an_unknown_unit_is_mm() -> None:
    found = placed(header_of(), xyzt_units=5)
    np.testing.assert_array_equal(found.affine, AFFINE)
    assert found.warnings == ("The header's unit of space has the unknown code 5: mm are assumed.",)


NUMBERS = st.floats(-4, 4, width=32) | st.sampled_from([0.0, 1.0, -1.0, np.nan, np.inf, 1e30])


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_where_nibabel_has_an_answer_it_is_this_one(data: st.DataObject) -> None:
    """But for a singular sform, which nibabel takes as it is."""
    header = header_of(qform=data.draw(st.integers(0, 5)), sform=data.draw(st.integers(0, 5)))
    for name in data.draw(st.lists(st.sampled_from(["quatern_b", "quatern_c", "quatern_d", "qoffset_x"]))):
        header[name] = data.draw(NUMBERS)
    for axis in data.draw(st.lists(st.integers(0, 3))):
        header["pixdim"][axis] = data.draw(NUMBERS)
    for row in data.draw(st.lists(st.sampled_from(["srow_x", "srow_y", "srow_z"]))):
        header[row] = data.draw(st.lists(NUMBERS, min_size=4, max_size=4))
    try:
        found = place(header, SHAPE, "scan.nii")
    except InputError:
        found = None
    try:
        with np.errstate(all="ignore"):
            affine = nib.Nifti1Header(header.binaryblock).get_best_affine()
    except (nib.spatialimages.HeaderDataError, ValueError):
        return
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    usable = (
        np.abs(affine).max() <= 1e9 and lengths.min() >= 1e-9 and abs(np.linalg.det(affine[:3, :3] / lengths)) > 1e-5
    )
    zero = header["pixdim"][1:4] == 0
    if usable and found is not None and not zero.any():
        np.testing.assert_allclose(found.affine, affine, rtol=1e-6, atol=1e-6)
    if found is not None:
        assert np.isfinite(found.affine).all()
        np.testing.assert_allclose(masks_affine(found), found.affine, rtol=1e-5, atol=1e-3)
