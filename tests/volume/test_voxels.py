"""Stored numbers become HU exactly; voxels that stay in their file are those that would be held, on every reading."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from umlite.errors import InputError
from umlite.volume import reading, values, voxels
from umlite.volume.reading import Scan
from umlite.volume.values import range_of
from umlite.volume.voxels import to_hu

HU = np.random.default_rng(0).integers(-1000, 1500, (7, 6, 5)).astype(np.int16)


def read_scan(source: object) -> Scan:
    """As `reading.read_scan`; the scans here are smaller than a body."""
    return reading.read_scan(source, force_geometry=True)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    nib.save(nib.Nifti1Image(HU, np.eye(4)), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


@pytest.mark.parametrize("slab", [1, 200, 1 << 20])
@pytest.mark.parametrize("held", [0, 1 << 20])
def test_slabs_are_the_whole(slab: int, held: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voxels, "HELD_BYTES", held)
    monkeypatch.setattr(voxels, "_SLAB_BYTES", slab)
    scan = read_scan(path)
    assert scan.is_held == (held > 0)
    assert scan.shape == HU.shape
    assert scan.voxels.dtype == scan.hu.dtype == np.int16
    np.testing.assert_array_equal(scan.hu, HU)
    for _ in range(2):
        parts = list(scan.slabs())
        assert len(parts) == {1: 5, 200: 3}.get(slab, 1)
        np.testing.assert_array_equal(np.concatenate(parts, 2), HU)


@pytest.mark.parametrize("planes", [1, 2, 5, 9])
@pytest.mark.parametrize("held", [0, 1 << 20])
def test_the_caller_chooses_the_slabs(planes: int, held: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voxels, "HELD_BYTES", held)
    parts = list(read_scan(path).slabs(planes))
    assert [part.shape[2] for part in parts] == {1: [1] * 5, 2: [2, 2, 1]}.get(planes, [5])
    np.testing.assert_array_equal(np.concatenate(parts, 2), HU)


def test_the_limit_is_of_stored_bytes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for held in (HU.nbytes - 1, HU.nbytes):
        monkeypatch.setattr(voxels, "HELD_BYTES", held)
        assert read_scan(path).is_held == (held == HU.nbytes)
        assert read_scan(nib.load(path)).is_held == (held == HU.nbytes)
        assert read_scan(nib.Nifti1Image(HU, np.eye(4))).is_held


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">i2", "i4", "f4", "f8"])
@pytest.mark.parametrize(("slope", "inter"), [(1, 0), (1, -1024), (-2, 3), (0.5, -1000.25)])
def test_one_type_for_all_slabs(
    dtype: str, slope: float, inter: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the last plane has numbers that may be too large for int16."""
    data = np.zeros((4, 3, 6), dtype)
    data[..., 5] = np.random.default_rng(0).integers(0, np.iinfo(np.uint8 if dtype == "u1" else np.int16).max, (4, 3))
    image = nib.Nifti1Image(data, np.eye(4), dtype=data.dtype)
    image.header.set_slope_inter(slope, inter)
    nib.save(image, tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[352:] = data.tobytes(order="F")
    (tmp_path / "a.nii").write_bytes(content)
    held = read_scan(tmp_path / "a.nii")
    monkeypatch.setattr(voxels, "HELD_BYTES", 0)
    monkeypatch.setattr(voxels, "_SLAB_BYTES", 1)
    scan = read_scan(tmp_path / "a.nii")
    assert {part.dtype for part in scan.slabs()} == {held.hu.dtype}
    assert scan.voxels.dtype == scan.hu.dtype == held.hu.dtype
    np.testing.assert_array_equal(np.concatenate(list(scan.slabs()), 2), held.hu)
    np.testing.assert_array_equal(scan.hu, held.hu)
    assert (scan.voxels.values().low, scan.voxels.values().high) == (held.hu.min(), held.hu.max())
    np.testing.assert_array_equal(scan.voxels.values().counts, held.voxels.values().counts)


@pytest.mark.parametrize("same_size", [False, True])
def test_a_file_that_changes_is_no_garbage(same_size: bool, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voxels, "HELD_BYTES", 0)
    scan = read_scan(path)
    before, content = path.stat(), bytearray(gzip.decompress(path.read_bytes()))
    content[400] ^= 1
    path.write_bytes(gzip.compress(bytes(content if same_size else content[:-1])))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    for read in (lambda: list(scan.slabs()), lambda: scan.hu):
        with pytest.raises(InputError, match="changed while it was read" if same_size else "cut short"):
            read()
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        list(scan.slabs())


@pytest.mark.parametrize("slab", [1, 7, 1 << 22])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", "<u2", ">u2", "i4", "u8"])
@pytest.mark.parametrize(("slope", "inter"), [(1, 0), (1, -1024), (2, 3)])
@pytest.mark.parametrize("in_place", [False, True])
def test_whole_numbers_stay_int16(
    slab: int, order: str, dtype: str, slope: int, inter: int, in_place: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values, "PART_VOXELS", slab)
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
