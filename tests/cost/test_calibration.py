"""A calibration is made of plausible numbers, and remembered for what it was made with."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from support.samples import make_scan
from umlite import Segmenter
from umlite.cost import measuring as measuring
from umlite.cost.calibration import remember, remembered
from umlite.cost.forecast import Forecast
from umlite.cost.limits import Limits
from umlite.cost.measuring import calibrate, calibration_of
from umlite.errors import DeviceError
from umlite.volume.reading import read_scan


@pytest.fixture
def segmenter(small_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Segmenter:
    monkeypatch.setenv("UMLITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(measuring, "SECONDS", 0.0)
    monkeypatch.setattr(measuring, "SIDE", 40)
    return Segmenter(small_weights, device="cpu")


def test_calibration_is_remembered_for_these_weights_only(segmenter: Segmenter, tmp_path: Path) -> None:
    assert remembered(segmenter) is None
    measured = calibrate(segmenter)
    assert measured.window_s + measured.class_s > 0
    assert measured.process_bytes > 0
    assert min(vars(measured).values()) >= 0
    remember(segmenter, measured)
    assert remembered(segmenter) == measured
    assert remembered(Segmenter("demo", device="cpu")) is None
    (file,) = (tmp_path / "cache" / "calibration").iterdir()
    kept = json.loads(file.read_text())
    for damage in ({"window_s": "1"}, {"read_byte_s": math.nan}, {"write_file_s": math.inf}, {"class_s": -1.0},
                   {"process_bytes": 0.5}, {"process_bytes": None}, {"more": 1}):  # fmt: skip
        file.write_text(json.dumps({**kept, **damage}))
        assert remembered(segmenter) is None, damage
    for content in ("{", "[]", '{"window_s": 1}', "[" * 200_000):
        file.write_text(content)
        assert remembered(segmenter) is None
    file.unlink()
    os.mkfifo(file)
    assert remembered(segmenter) is None


def test_measured_once_unless_asked_again(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    first = calibration_of(segmenter, tell=told.append)
    monkeypatch.setattr(measuring, "calibrate", lambda _segmenter: None)
    assert calibration_of(segmenter, tell=told.append) == first
    assert len(told) == 1
    monkeypatch.setattr(measuring, "calibrate", lambda _segmenter: first)
    assert calibration_of(segmenter, again=True, tell=told.append) == first
    assert len(told) == 2


def test_a_forecast_measures_only_for_a_limit(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = read_scan(make_scan())
    prepared = segmenter.prepare(scan)
    assert Forecast(segmenter, "liver").of(prepared) is None
    told: list[str] = []
    limited = Forecast(segmenter, "liver", limits=Limits(ram=10_000_000), tell=told.append)
    assert len(told) == 1
    with pytest.raises(DeviceError, match=r"more than the 10 MB allowed"):
        limited.of(prepared)
    monkeypatch.setattr(measuring, "calibrate", lambda _segmenter: None)
    cost = Forecast(segmenter, "liver").of(prepared)
    assert cost is not None
    assert cost.windows > 1
