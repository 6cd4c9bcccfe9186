"""Stored numbers become HU exactly, in as little memory as holds them."""

from __future__ import annotations

import numpy as np
import pytest

from umlite.volume import scaling
from umlite.volume.scaling import range_of, to_hu


@pytest.mark.parametrize("slab", [1, 7, 1 << 22])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", "<u2", ">u2", "i4", "u8"])
@pytest.mark.parametrize(("slope", "inter"), [(1, 0), (1, -1024), (2, 3)])
@pytest.mark.parametrize("in_place", [False, True])
def test_whole_numbers_stay_int16(
    slab: int, order: str, dtype: str, slope: int, inter: int, in_place: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaling, "_SLAB_VOXELS", slab)
    raw = np.arange(120, dtype=dtype).reshape(4, 5, 6, order=order)
    kept = raw.copy(order="K")
    hu = to_hu(raw, slope, inter, in_place=in_place)
    assert hu.dtype == np.int16
    np.testing.assert_array_equal(hu, kept.astype(np.int64) * slope + inter)
    assert hu.strides[int(np.argmin(raw.strides))] == 2
    if in_place:
        assert np.shares_memory(hu, raw) == (raw.dtype.itemsize == 2)
    else:
        np.testing.assert_array_equal(raw, kept)


@pytest.mark.parametrize(
    ("values", "slope", "inter"),
    [([0, 32768], 1, 0), ([0, 32767], 1, 1), ([-32768, 0], 1, -1), ([0, 7], 0.5, 0), ([0, 7], 1, 0.25)],
)
def test_what_does_not_fit_is_float32(values: list[int], slope: float, inter: float) -> None:
    raw = np.array(values, np.int32).reshape(1, 1, 2)
    hu = to_hu(raw, slope, inter, in_place=True)
    assert hu.dtype == np.float32
    np.testing.assert_array_equal(hu.ravel(), np.array(values) * slope + inter)


def test_the_ends_of_int16_fit() -> None:
    raw = np.array([0, 65535], np.uint16).reshape(1, 1, 2)
    assert to_hu(raw, 1, -32768).ravel().tolist() == [-32768, 32767]
    assert to_hu(raw, 1, -32767).dtype == np.float32


def test_range_is_not_finite_where_a_voxel_is_not() -> None:
    assert range_of(np.array([[[3, -2]]], np.int16)) == (-2.0, 3.0)
    assert not np.isfinite(range_of(np.array([[[3, np.nan, 1]]], np.float32))).any()
