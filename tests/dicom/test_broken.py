"""Twenty kinds of broken series, as docs/dicom.md lists them: a sentence, exit code 2, and nothing written."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from typer.testing import CliRunner

from support.dicom import Shot, phantom_hu, write_series
from umlite.cli import app
from umlite.dicom.finding import find_series
from umlite.dicom.reading import open_series

HU = phantom_hu((12, 10, 11))
COMPRESSED = Shot(syntax=uid.RLELossless)
PAGE = Path(__file__).parents[2] / "docs" / "dicom.md"


def edited(change: Callable[[Dataset, int], None]) -> Callable[[Path], Path]:
    return lambda folder: write_series(folder, HU, edit=change)


def setting(**values: object) -> Callable[[Path], Path]:
    def change(data: Dataset, _k: int) -> None:
        for keyword, value in values.items():
            setattr(data, keyword, value)

    return edited(change)


def without(keyword: str) -> Callable[[Path], Path]:
    return edited(lambda data, _k: delattr(data, keyword))


def cut(keep: slice, shot: Shot | None = None) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for file in write_series(folder, HU, shot).iterdir():
            file.write_bytes(file.read_bytes()[keep])
        return folder

    return make


def shifted(by: float, axis: int) -> Callable[[Path], Path]:
    def change(data: Dataset, k: int) -> None:
        if k == 5:
            place = [float(v) for v in data.ImagePositionPatient]
            place[axis] += by
            data.ImagePositionPatient = place

    return edited(change)


def missing(folder: Path) -> Path:
    write_series(folder, HU, names="plain")
    (folder / "2_0005.dcm").unlink()
    return folder


def mixed_up(folder: Path) -> Path:
    write_series(folder, HU)
    rng = np.random.default_rng(0)
    return write_series(folder, rng.permutation(HU), Shot(number=7))


def rubbish(folder: Path) -> Path:
    write_series(folder, HU, Shot(syntax=uid.JPEGLSLossless))
    for file in folder.iterdir():
        content = file.read_bytes()
        at = content.rindex(b"\xff\xd8\xff")
        file.write_bytes(content[:at] + bytes(60) + content[at + 60 :])
    return folder


def archive(content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder.with_suffix(".zip")
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("a.dcm", content)
        return path

    return make


def cut_archive(folder: Path) -> Path:
    path = archive(b"x" * 5000)(folder)
    path.write_bytes(path.read_bytes()[:3000])
    return path


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


BROKEN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "an empty folder": (empty, "holds no DICOM files"),
    "a file cut within its header": (cut(slice(700)), "DICOM"),
    "a file cut within its pixels": (cut(slice(-100)), "cut short"),
    "a file cut within its compressed pixels": (cut(slice(-100), COMPRESSED), "cut short within its compressed"),
    "no pixels": (without("PixelData"), "no image"),
    "no position": (without("ImagePositionPatient"), "where its pixels lie"),
    "no orientation": (without("ImageOrientationPatient"), "where its pixels lie"),
    "no pixel spacing": (without("PixelSpacing"), "where its pixels lie"),
    "an orientation that is no direction": (setting(ImageOrientationPatient=[0] * 6), "no direction"),
    "rows that are not square to columns": (setting(ImageOrientationPatient=[1, 0, 0, 0.6, 0.8, 0]), "not square"),
    "a pixel spacing of zero": (setting(PixelSpacing=[0, 0]), "no CT has"),
    "colours": (setting(PhotometricInterpretation="RGB", SamplesPerPixel=3), "colours"),
    "a size that no CT has": (setting(Rows=60000, Columns=60000), "no CT has"),
    "bits that do not fit": (setting(BitsStored=20), "bits a pixel"),
    "a rescale slope of zero": (setting(RescaleSlope=0), "slope of 0"),
    "values that are not HU": (setting(RescaleType="Z_EFF"), "not HU"),
    "a missing slice": (missing, "slice is missing"),
    "a slice in another distance": (shifted(2.5, 2), "mm apart"),
    "a slice beside the others": (shifted(30, 0), "beside one line"),
    "different slices in one place": (mixed_up, "nothing tells apart"),
    "compressed pixels that are damaged": (rubbish, "damaged"),
    "a cut archive": (cut_archive, "damaged ZIP"),
    "an archive without DICOM": (archive(b"hello" * 100), "ZIP archive without DICOM"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_sentence_and_nothing_written(kind: str, tmp_path: Path, small_weights: Path) -> None:
    make, words = BROKEN[kind]
    path = make(tmp_path / "case")
    out = tmp_path / "out"
    arguments = ["segment", str(path), "-o", str(out), "--weights", str(small_weights), "-c", "liver"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert words in errors[0]
    assert "Traceback" not in result.output
    assert not out.exists()


def test_the_page_lists_them() -> None:
    page = PAGE.read_text()
    assert not [kind for kind in BROKEN if f"- {kind}" not in page]


def test_one_compressed_file_that_is_cut_is_left_out(tmp_path: Path) -> None:
    folder = write_series(tmp_path, HU, COMPRESSED, names="plain")
    last = folder / "2_0010.dcm"
    last.write_bytes(last.read_bytes()[:-60])
    opened = open_series(find_series([folder]).choose()[0])
    assert opened.header.shape[2] == 10
    assert [(remark.code, "cut short" in remark.sentence) for remark in opened.remarks] == [("left-out", True)]
