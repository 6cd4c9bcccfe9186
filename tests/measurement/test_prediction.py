"""Windows are predicted exactly, seconds and memory by their model."""

from __future__ import annotations

from pathlib import Path

import pytest
from samples import make_scan

from umlite import Segmenter
from umlite.measurement.calibration import Calibration, calibrate, remember, remembered
from umlite.measurement.prediction import classes_that_fit, peak_of_run, predict
from umlite.volume.reading import read_scan

RATES = Calibration(2.0, 0.5, 0.0, 0.0, 0.0, 0.0, 1e-6, 1000)


@pytest.fixture
def segmenter(small_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Segmenter:
    monkeypatch.setenv("UMLITE_CACHE", str(tmp_path / "cache"))
    return Segmenter(small_weights, "cpu")


@pytest.mark.parametrize("shape", [(40, 36, 30), (9, 8, 11), (17, 40, 16)])
def test_windows_are_those_that_run(segmenter: Segmenter, shape: tuple[int, int, int]) -> None:
    scan = read_scan(make_scan(shape))
    cost = predict(segmenter, RATES, scan, segmenter.prepare(scan), ["liver", "spleen"])
    counts = segmenter.segment(scan, "liver,spleen").windows
    assert (cost.windows, cost.windows_run) == (counts.total, counts.run)
    assert cost.steps["windows"] == pytest.approx(counts.run * 3.0)
    assert cost.steps["write"] == pytest.approx(2e-6 * scan.hu.size)


def test_host_organs_count(segmenter: Segmenter) -> None:
    scan = read_scan(make_scan())
    volume = segmenter.prepare(scan)
    alone, hosted = (predict(segmenter, RATES, scan, volume, [n]) for n in ("liver", "liver_tumor"))
    assert hosted.steps["windows"] / alone.steps["windows"] == pytest.approx(3.0 / 2.5)


def test_calibration_is_remembered_for_these_weights_only(segmenter: Segmenter, tmp_path: Path) -> None:
    assert remembered(segmenter) is None
    measured = calibrate(segmenter)
    assert measured.window_s + measured.class_s > 0
    assert min(vars(measured).values()) >= 0
    remember(segmenter, measured)
    assert remembered(segmenter) == measured
    assert remembered(Segmenter("demo", "cpu")) is None
    (file,) = (tmp_path / "cache" / "calibration").iterdir()
    file.write_text("{")
    assert remembered(segmenter) is None


def test_memory_does_not_grow_with_the_sums_of_a_longer_scan() -> None:
    def peak(length: int, classes: int) -> int:
        shape = (300, 250, length)
        return peak_of_run(0, shape, shape, shape, (96, 96, 96), classes)

    slab = 4 * 300 * 250 * 96
    assert peak(400, 32) - peak(400, 31) == peak(800, 32) - peak(800, 31) == slab


def test_classes_that_fit() -> None:
    shape = (300, 250, 400)
    limit = peak_of_run(10, shape, shape, shape, (96, 96, 96), 20)
    assert classes_that_fit(limit, 10, shape, shape, shape, (96, 96, 96), 32) == 20
    assert classes_that_fit(1000, 10, shape, shape, shape, (96, 96, 96), 32) == 0
