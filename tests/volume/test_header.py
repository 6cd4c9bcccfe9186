"""Shape, type and scaling of a header by the rules of the standard and of nibabel."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from umlite.errors import InputError
from umlite.volume.header import Header, describe

AFFINE = nib.affines.from_matvec(np.diag([-3.0, -3.0, 3.0]), (159, 120, -70))


def described(**fields: object) -> Header:
    header = nib.Nifti1Header()
    header.set_data_shape((106, 80, 46))
    header.set_data_dtype(np.int16)
    header.set_sform(AFFINE, code=1)
    header.set_qform(AFFINE, code=1)
    for name, value in fields.items():
        header[name] = value
    return describe(header, "scan.nii")


def dim(*sizes: int) -> list[int]:
    return [len(sizes), *sizes, *[1] * (7 - len(sizes))]


def test_a_plain_header() -> None:
    found = described()
    assert (found.shape, found.dtype, found.slope, found.inter) == ((106, 80, 46), np.int16, 1, 0)
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("sizes", "shape", "words"),
    [
        ((106, 80, 46, 1), (106, 80, 46), ""),
        ((106, 80, 46, 1, 1, 1, 1), (106, 80, 46), ""),
        ((1, 80, 46), (1, 80, 46), ""),
        ((1, 80, 46, 1), (1, 80, 46), ""),
        ((1, 106, 80, 46), (106, 80, 46), "leading axes of one voxel were left out"),
        ((1, 1, 106, 80, 46, 1), (106, 80, 46), "leading axes of one voxel were left out"),
        ((106, 80, 46, 0), (106, 80, 46), "sizes below 1 after the third count as 1"),
        ((106, 80, 46, -5, 1), (106, 80, 46), "sizes below 1 after the third count as 1"),
    ],
)
def test_axes_of_one_voxel(sizes: tuple[int, ...], shape: tuple[int, ...], words: str) -> None:
    found = described(dim=dim(*sizes))
    assert found.shape == shape
    np.testing.assert_array_equal(found.affine, AFFINE)
    assert len(found.warnings) == bool(words)
    assert words in " ".join(found.warnings)


@pytest.mark.parametrize(("sizes", "count"), [((106, 80, 1, 46), 46), ((1, 106, 80, 46, 3), 3), ((2, 106, 80, 46), 46)])
def test_several_volumes(sizes: tuple[int, ...], count: int) -> None:
    with pytest.raises(InputError, match=f"holds {count} volumes"):
        described(dim=dim(*sizes))


@pytest.mark.parametrize("slope", [0, np.nan, np.inf])
def test_an_intercept_without_a_slope_is_not_used(slope: float) -> None:
    found = described(scl_slope=slope, scl_inter=-1024)
    assert (found.slope, found.inter) == (1, 0)
    assert found.warnings == (f"The header's scl_slope is {slope:g}: its scl_inter, -1024, is not used.",)
    assert described(scl_slope=slope, scl_inter=0).warnings == ()
    assert described(scl_slope=slope, scl_inter=np.nan).warnings == ()


def test_a_label_map_is_told() -> None:
    assert "calls its numbers labels" in described(intent_code=1002).warnings[0]


@pytest.mark.parametrize("code", [128, 2304, 32, 1792])
def test_colours_and_complex_numbers(code: int) -> None:
    with pytest.raises(InputError, match=r"colours|complex"):
        described(datatype=code)
