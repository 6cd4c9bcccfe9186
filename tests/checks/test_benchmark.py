"""Steps of a scan, run by run."""

from __future__ import annotations

from pathlib import Path

import pytest

from umlite import Segmenter
from umlite.checks.benchmark import STEPS, ScanBenchmark, Side, benchmark_scan
from umlite.checks.reference_pipeline import ReferencePipeline


def test_both_sides_of_a_small_scan(scan_file: Path, small_weights: Path) -> None:
    measured = benchmark_scan(
        lambda: Segmenter(small_weights, device="cpu"),
        scan_file,
        "liver",
        repeats=2,
        reference=ReferencePipeline(small_weights),
        reference_windows=2,
    )
    data = measured.to_dict()
    assert set(data["umlite"]["steps_s"]) == set(STEPS)
    assert len(measured.ours.runs) == 2
    assert data["reference"]["extrapolated"]
    assert not data["umlite"]["extrapolated"]
    assert measured.ratio
    assert measured.ours.peak_bytes > 1e7


def test_ratio_and_shares() -> None:
    ours = Side(({"windows": 3.0, "write": 1.0}, {"windows": 1.0, "write": 1.0}), 1, 4, 4, False)
    theirs = Side(({"windows": 40.0}, {"windows": 10.0}), 1, 4, 4, False)
    assert ScanBenchmark(0.0, ours, theirs).ratio == pytest.approx(7.5)
    assert ScanBenchmark(0.0, ours, None).ratio is None
    assert ours.share_outside_windows == pytest.approx(1 / 3)
    assert ours.to_dict()["total_s"]["p50"] == pytest.approx(3.0)
