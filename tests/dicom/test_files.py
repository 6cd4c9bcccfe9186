"""Ways to store a series: transfer syntaxes, many frames in a file, archives, phases, copies, odd files beside it."""

from __future__ import annotations

import random
import shutil
import stat
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from support.dicom import AXES, Shot, enhanced_data, phantom_hu, save, write_series
from umlite.dicom import voxels
from umlite.dicom.finding import find_series
from umlite.dicom.reading import only_series, open_series, read_series
from umlite.errors import InputError

HU = phantom_hu()
SYNTAXES = [
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGLSLossless,
]


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda u: u.keyword)
@pytest.mark.parametrize("signed", [False, True])
def test_every_syntax_that_can_be_written(tmp_path: Path, syntax: str, signed: bool) -> None:
    folder = write_series(tmp_path, HU, Shot(syntax=syntax, signed=signed))
    np.testing.assert_array_equal(read_series(folder).hu, HU)


@pytest.mark.parametrize("name", ["CT1", "CT2"])
def test_real_files_in_every_syntax(shared: Path, name: str) -> None:
    def hu(kind: str) -> np.ndarray:
        found = find_series([shared / "data" / "series" / "singles" / "wg04" / f"{name}_{kind}"])
        return np.maximum(read_series(found.choose("all")[0]).hu.astype(int), -1024)  # loss blurs padding too

    plain = hu("UNC")
    for kind, most in {"JPLL": 0, "JLSL": 0, "J2KR": 0, "RLE": 0, "JLSN": 4, "J2KI": 402}.items():
        assert np.abs(hu(kind) - plain).max() <= most, kind


def test_a_missing_decoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.pixels.decoders import base

    folder = write_series(tmp_path, HU, Shot(syntax=uid.JPEGLSLossless))
    monkeypatch.setattr(base.Decoder, "is_available", False)
    with pytest.raises(InputError, match=r"JPEG-LS Lossless.*pip install pyjpegls"):
        read_series(folder)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(InputError, match=r"pip install 'umlite\[dicom\]'"):
        find_series([tmp_path])


@pytest.mark.parametrize("axes", ["axial", "axial_flip_rows"])
@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless], ids=lambda u: u.keyword)
def test_many_frames_in_a_file(tmp_path: Path, axes: str, syntax: str) -> None:
    order = list(range(HU.shape[2]))
    random.Random(3).shuffle(order)
    shot = Shot(*AXES[axes], tilt_degrees=12, syntax=syntax)
    save(tmp_path / "enhanced.dcm", enhanced_data(HU, shot, order), syntax)
    scan = read_series(tmp_path / "enhanced.dcm")
    np.testing.assert_array_equal(scan.hu, HU)
    np.testing.assert_allclose(scan.affine, shot.affine(), atol=1e-5)


def packed(folder: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"../../{file.name}")
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_is_read_where_it_is(tmp_path: Path, method: int) -> None:
    path = packed(write_series(tmp_path / "in" / "series", HU), method)
    before = sorted(tmp_path.rglob("*"))
    scan = read_series(path)
    np.testing.assert_array_equal(scan.hu, HU)
    assert scan.name == "series"
    assert sorted(tmp_path.rglob("*")) == before


def test_many_frames_in_an_archive(tmp_path: Path) -> None:
    (tmp_path / "series").mkdir()
    save(tmp_path / "series" / "enhanced.dcm", enhanced_data(HU, Shot(), range(HU.shape[2])))
    np.testing.assert_array_equal(read_series(packed(tmp_path / "series")).hu, HU)


def test_links_bombs_and_secrets_in_archives_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("umlite.dicom.archive.MOST_MEMBER_BYTES", 1 << 20)
    path = packed(write_series(tmp_path / "series", HU))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        link = zipfile.ZipInfo("link.dcm")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("bomb.dcm", bytes(128) + b"DICM" + bytes(1 << 24))
        archive.writestr("secret.dcm", b"DICM")
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02")
    content[at + 8] |= 1  # encrypted, in the directory at the end
    path.write_bytes(content)
    found = find_series([path])
    assert len(found.series) == 1
    assert any("bomb.dcm is not read: it unpacks to" in sentence for sentence in found.damaged)
    assert any("secret.dcm is not read: it is encrypted" in sentence for sentence in found.damaged)
    assert not any("link.dcm" in sentence for sentence in found.damaged + found.foreign)


@pytest.mark.parametrize(
    ("key", "first", "second"),
    [("TemporalPositionIndex", 1, 2), ("AcquisitionNumber", 3, 4), ("ConvolutionKernel", "B30f", "B70f"), ("", 0, 0)],
)
def test_phases_are_told_apart(tmp_path: Path, key: str, first: object, second: object) -> None:
    later = (HU // 2).astype(np.int16)
    write_series(tmp_path / "a", HU, Shot(extra={key: first} if key else {}))
    write_series(tmp_path / "b", later, Shot(extra={key: second} if key else {}, first_instance=50))
    found = find_series([tmp_path])
    one, two = found.choose()
    assert one.stack
    assert one.stack.part == (f"{key} {first}" if key else "round 1")
    np.testing.assert_array_equal(read_series(one).hu, HU)
    np.testing.assert_array_equal(read_series(two).hu, later)
    with pytest.raises(InputError, match="2 CT series"):
        only_series(tmp_path)


def test_two_stacks_of_one_series(tmp_path: Path) -> None:
    write_series(tmp_path / "a", HU, Shot(extra={"AcquisitionNumber": 1}))
    write_series(tmp_path / "b", HU, Shot(extra={"AcquisitionNumber": 2}, first_instance=50, origin=(-40, -60, 400)))
    for series in find_series([tmp_path]).choose():
        np.testing.assert_array_equal(read_series(series).hu, HU)


def test_copies_count_once(tmp_path: Path) -> None:
    write_series(tmp_path, HU)
    shutil.copy(tmp_path / "2_0004.dcm", tmp_path / "copy.dcm")
    scan = read_series(tmp_path)
    np.testing.assert_array_equal(scan.hu, HU)
    assert any("1 slices too many" in warning for warning in scan.warnings)


def test_equal_slices_under_other_numbers_count_once(tmp_path: Path) -> None:
    write_series(tmp_path / "a", HU)
    write_series(tmp_path / "b", HU[:, :, :1], Shot(first_instance=99))
    np.testing.assert_array_equal(read_series(tmp_path).hu, HU)


def test_missing_uids_are_made_and_said(tmp_path: Path) -> None:
    def without(data: Dataset, _k: int) -> None:
        data.SeriesInstanceUID = data.StudyInstanceUID = data.SOPInstanceUID = ""

    opened = open_series(only_series(write_series(tmp_path, HU, edit=without)))
    assert [remark.code for remark in opened.remarks] == ["series-uid", "instance-uid"]
    assert opened.series.about.uid.startswith("2.25.")
    np.testing.assert_array_equal(opened.read().whole(), HU)


def test_odd_files_beside_a_series_are_reported(tmp_path: Path) -> None:
    write_series(tmp_path, HU)
    whole = (tmp_path / "2_0000.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[:-300])
    (tmp_path / "cut_in_header.dcm").write_bytes(whole[:600])
    (tmp_path / "notes.txt").write_text("x" * 900)
    found = find_series([tmp_path])
    assert [len(one.frames) for one in found.choose()] == [12]
    assert found.foreign == (str(tmp_path / "notes.txt"),)
    assert any("cut short" in warning for warning in read_series(tmp_path).warnings)


def test_large_series_are_read_by_slabs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voxels, "HELD_BYTES", 0)
    write_series(tmp_path, HU)
    scan = read_series(tmp_path)
    assert not scan.is_held
    np.testing.assert_array_equal(np.concatenate(list(scan.slabs(5)), axis=2), HU)
    np.testing.assert_array_equal(scan.hu, HU)
    file = tmp_path / "2_0003.dcm"
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="changed while it was read"):
        list(scan.slabs(4))


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless], ids=lambda u: u.keyword)
def test_the_phantoms_are_valid(tmp_path: Path, syntax: str) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("needs dciodvfy (Debian's package dicom3tools)")
    file = min(write_series(tmp_path, HU[:, :, :1], Shot(syntax=syntax)).iterdir())
    run = subprocess.run(["dciodvfy", file], capture_output=True, text=True, check=False)
    assert "Error" not in run.stderr, run.stderr
