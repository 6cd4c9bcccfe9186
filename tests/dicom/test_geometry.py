"""Series of a phantom stored in every direction: the same voxels in the same place as it was made with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from support.dicom import AXES, Shot, phantom_hu, write_series
from umlite.dicom.finding import find_series
from umlite.dicom.reading import open_series, read_series
from umlite.errors import InputError

HU = phantom_hu()


def read(folder: Path, wanted: str = "all"):
    (series,) = find_series([folder]).choose(wanted)
    return read_series(series)


@pytest.mark.parametrize("axes", sorted(AXES))
def test_every_direction(tmp_path: Path, axes: str) -> None:
    row, column = AXES[axes]
    shot = Shot(row, column, spacing_mm=(4.0, 3.5, 5.0))
    scan = read(write_series(tmp_path, HU, shot))
    np.testing.assert_array_equal(scan.hu, HU)
    np.testing.assert_allclose(scan.affine, shot.affine(), atol=1e-5)
    assert scan.hu.dtype == np.int16
    assert not scan.warnings


@pytest.mark.parametrize(
    ("position", "axes"), [("FFS", "axial"), ("HFP", "axial_flip_both"), ("FFP", "axial_flip_both")]
)
def test_positions_of_the_patient_change_nothing(tmp_path: Path, position: str, axes: str) -> None:
    row, column = AXES[axes]
    shot = Shot(row, column, position=position)
    scan = read(write_series(tmp_path, HU, shot))
    np.testing.assert_array_equal(scan.hu, HU)
    np.testing.assert_allclose(scan.affine, shot.affine(), atol=1e-5)


@pytest.mark.parametrize("tilt", [15.0, -15.0])
def test_a_tilted_gantry_shears_the_affine(tmp_path: Path, tilt: float) -> None:
    shot = Shot(tilt_degrees=tilt)
    scan = read(write_series(tmp_path, HU, shot))
    np.testing.assert_array_equal(scan.hu, HU)
    np.testing.assert_allclose(scan.affine, shot.affine(), atol=1e-5)
    assert "tilted by 15 degrees" in scan.warnings[0]


def test_order_of_numbers_and_names_does_not_matter(tmp_path: Path) -> None:
    def turn(data: Dataset, k: int) -> None:
        data.InstanceNumber = 100 - k

    np.testing.assert_array_equal(read(write_series(tmp_path, HU, edit=turn)).hu, HU)


def test_rescale_of_every_slice_counts(tmp_path: Path) -> None:
    def rescale(data: Dataset, k: int) -> None:
        if k % 2:
            stored = np.frombuffer(data.PixelData, "<u2").astype(int)
            data.RescaleIntercept = "-2048"
            data.PixelData = (stored + 1024).astype("<u2").tobytes()

    np.testing.assert_array_equal(read(write_series(tmp_path, HU, edit=rescale)).hu, HU)


def test_fractions_of_hu_become_float32(tmp_path: Path) -> None:
    scan = read(write_series(tmp_path, HU, Shot(slope=0.5)))
    assert scan.hu.dtype == np.float32
    np.testing.assert_array_equal(scan.hu, HU)


def test_padding_is_air(tmp_path: Path) -> None:
    def pad(data: Dataset, _k: int) -> None:
        stored = np.frombuffer(data.PixelData, "<i2").copy()
        stored[:7] = -2000
        data.PixelData = stored.tobytes()
        data.add_new("PixelPaddingValue", "US", 63536)  # -2000 under the wrong sign, as one maker writes it

    hu = read(write_series(tmp_path, HU, Shot(signed=True), edit=pad)).hu
    assert (hu[:7, 0] == -1024).all()
    np.testing.assert_array_equal(hu[:, 1:], HU[:, 1:])


def test_bits_above_the_stored_ones_are_ignored(tmp_path: Path) -> None:
    def overlay(data: Dataset, _k: int) -> None:
        stored = np.frombuffer(data.PixelData, "<u2") | 0xA000
        data.BitsStored, data.HighBit = 12, 11
        data.PixelData = stored.tobytes()

    hu = np.minimum(HU, 3071)
    np.testing.assert_array_equal(read(write_series(tmp_path, hu, edit=overlay)).hu, hu)


def test_a_missing_slice_is_refused_and_filled_on_request(tmp_path: Path) -> None:
    write_series(tmp_path, HU, names="plain")
    (tmp_path / "2_0004.dcm").unlink()
    found = find_series([tmp_path])
    with pytest.raises(InputError, match="1 slice is missing among 11 at 4 mm"):
        read_series(found.series[0])
    filled = open_series(found.choose(fill_gaps=True)[0])
    hu = filled.read().whole()
    between = np.rint((HU[:, :, 3].astype(float) + HU[:, :, 5]) / 2)
    np.testing.assert_array_equal(hu, np.concatenate([HU[:, :, :4], between[:, :, None], HU[:, :, 5:]], axis=2))
    np.testing.assert_allclose(filled.header.affine, Shot().affine(), atol=1e-5)
    assert [remark.code for remark in filled.remarks] == ["filled"]


def test_uneven_slices_are_refused_and_resampled_on_request(tmp_path: Path) -> None:
    def stretch(data: Dataset, k: int) -> None:
        if k >= 6:
            x, y, z = map(float, data.ImagePositionPatient)
            data.ImagePositionPatient = [x, y, z + 1.5 * (k - 6)]
            data.PixelData = np.full(20 * 18, 1024 + 100, "<u2").tobytes()

    write_series(tmp_path, HU, edit=stretch)
    found = find_series([tmp_path])
    with pytest.raises(InputError, match=r"4 to 5\.5 mm apart"):
        read_series(found.series[0])
    scan = read_series(found.choose(fill_gaps=True)[0])
    assert scan.shape[2] == 14  # 51.5 mm in steps of about 4 mm
    np.testing.assert_array_equal(scan.hu[:, :, 0], HU[:, :, 0])
    assert (scan.hu[:, :, -5:] == 100).all()
    np.testing.assert_allclose(scan.affine[2, 2] * 13, 51.5, atol=1e-4)


def test_slices_out_of_line_are_refused(tmp_path: Path) -> None:
    def shift(data: Dataset, k: int) -> None:
        if k == 5:
            data.ImagePositionPatient = [0, -60, data.ImagePositionPatient[2]]

    write_series(tmp_path, HU, edit=shift)
    with pytest.raises(InputError, match="beside one line"):
        read_series(tmp_path)


def test_positions_that_were_rounded_are_even(tmp_path: Path) -> None:
    def rounded(data: Dataset, k: int) -> None:
        data.ImagePositionPatient = [-40, -60, round(1.25 * k, 1)]

    scan = read(write_series(tmp_path, HU, edit=rounded))
    np.testing.assert_allclose(scan.spacing_mm[2], 1.25, atol=0.01)
