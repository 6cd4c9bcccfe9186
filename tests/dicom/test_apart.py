"""JPEG lossless is decoded by gdcm in a process of its own, which damaged pixels may end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from umlite.dicom import apart
from umlite.dicom.finding import find_series
from umlite.dicom.frames import Frame
from umlite.dicom.pixels import read_hu

pytest.importorskip("gdcm")
DAMAGE = ({76: 42, 6: 157, 110: 194}, {115: 120, 15: 99, 67: 38})
"""Bytes behind the start of the image: with the first ones gdcm breaks off by signal 11, with the others by 6."""
READ = """
import sys
from pathlib import Path
from umlite.dicom.finding import find_series
from umlite.dicom.pixels import read_hu
from umlite.errors import InputError
for frame in find_series([Path(sys.argv[1])]).series[0].frames:
    try:
        read_hu(frame)
    except InputError as error:
        print(error)
"""


@pytest.fixture
def sample(shared: Path) -> Path:
    return shared / "data" / "series" / "singles" / "wg04" / "CT1_JPLL"


def frame_of(path: Path) -> Frame:
    return find_series([path]).series[0].frames[0]


@pytest.mark.parametrize("damage", DAMAGE)
def test_pixels_that_end_the_decoder_are_an_error(sample: Path, tmp_path: Path, damage: dict[int, int]) -> None:
    data = bytearray(sample.read_bytes())
    start = data.rindex(b"\xff\xd8\xff")
    for place, value in damage.items():
        data[start + place] = value
    (tmp_path / "a.dcm").write_bytes(data)
    done = subprocess.run([sys.executable, "-c", READ, tmp_path / "a.dcm"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "cannot be decoded" in done.stdout or "another size" in done.stdout


@pytest.fixture
def none_idle() -> Iterator[None]:
    """No process from elsewhere, and none left behind."""
    end_all()
    yield
    end_all()


def end_all() -> None:
    while apart._idle:
        apart._idle.pop().end()


@pytest.mark.usefixtures("none_idle")
def test_a_process_serves_many_frames(sample: Path) -> None:
    expected = read_hu(frame_of(sample.with_name("CT1_UNC")))
    np.testing.assert_array_equal(read_hu(frame_of(sample)), expected)
    (child,) = apart._idle
    np.testing.assert_array_equal(read_hu(frame_of(sample)), expected)
    assert apart._idle == [child]


@pytest.mark.usefixtures("none_idle")
def test_a_process_that_went_for_want_of_requests_is_replaced(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "IDLE_S", 0.2)
    expected = read_hu(frame_of(sample))
    (child,) = apart._idle
    assert child.process.wait() == 0
    np.testing.assert_array_equal(read_hu(frame_of(sample)), expected)
    assert apart._idle != [child]
