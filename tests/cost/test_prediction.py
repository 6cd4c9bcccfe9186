"""Windows are predicted exactly, seconds and memory by their model."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import pytest

from support.samples import make_scan
from umlite import Segmenter
from umlite.cost.calibration import Calibration
from umlite.cost.prediction import Prediction, predict
from umlite.volume.reading import read_scan

RATES = Calibration(
    window_s=2.0,
    class_s=0.5,
    decide_s=0.0,
    read_voxel_s=0.0,
    read_byte_s=1e-3,
    prepare_scan_s=0.0,
    prepare_model_s=0.0,
    postprocess_s=0.0,
    statistics_s=32e-6,
    restore_s=0.0,
    write_voxel_s=1e-6,
    write_file_s=0.25,
    process_bytes=1000,
    class_bytes=100,
    device_bytes=0,
)


@pytest.fixture
def segmenter(small_weights: Path) -> Segmenter:
    return Segmenter(small_weights, device="cpu")


@pytest.mark.parametrize("shape", [(40, 36, 30), (9, 8, 11), (17, 40, 16)])
def test_windows_are_those_that_run(segmenter: Segmenter, shape: tuple[int, int, int]) -> None:
    scan = read_scan(make_scan(shape), force_geometry=True)
    cost = predict(segmenter, RATES, segmenter.prepare(scan), ["liver", "spleen"])
    counts = segmenter.segment(scan, "liver,spleen").windows
    assert (cost.windows, cost.windows_run) == (counts.total, counts.run)
    assert cost.steps["windows"] == pytest.approx(counts.run * 3.0)
    assert cost.steps["statistics"] == pytest.approx(2e-6 * scan.hu.size)
    assert cost.steps["write"] == pytest.approx(2e-6 * scan.hu.size + 0.5)
    assert cost.seconds == pytest.approx(sum(cost.steps.values()))


def test_an_empty_scan_has_no_windows(segmenter: Segmenter) -> None:
    scan = read_scan(nib.Nifti1Image(make_scan().get_fdata() * 0 - 1000, make_scan().affine))
    cost = predict(segmenter, RATES, segmenter.prepare(scan), ["liver"])
    assert (cost.windows, cost.windows_run, cost.steps["windows"]) == (0, 0, 0.0)


def test_the_file_counts(segmenter: Segmenter, tmp_path: Path) -> None:
    nib.save(make_scan(), tmp_path / "scan.nii.gz")
    scan = read_scan(tmp_path / "scan.nii.gz")
    cost = predict(segmenter, RATES, segmenter.prepare(scan), ["liver"])
    assert cost.steps["read"] == pytest.approx(1e-3 * (tmp_path / "scan.nii.gz").stat().st_size)


def test_a_large_scan_is_read_twice_and_not_kept(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nib.save(make_scan(), tmp_path / "scan.nii.gz")

    def cost() -> Prediction:
        scan = read_scan(tmp_path / "scan.nii.gz")
        return predict(segmenter, RATES, segmenter.prepare(scan), ["liver"])

    held = cost()
    monkeypatch.setattr("umlite.volume.voxels.HELD_BYTES", 0)
    large = cost()
    assert large.steps["prepare"] == large.steps["read"] == held.steps["read"] > held.steps["prepare"] == 0
    assert held.peak_bytes - large.peak_bytes == 2 * 40 * 36 * 30


def test_host_organs_count(segmenter: Segmenter) -> None:
    scan = read_scan(make_scan())
    prepared = segmenter.prepare(scan)
    alone, hosted = (predict(segmenter, RATES, prepared, [n]) for n in ("liver", "liver_tumor"))
    assert hosted.steps["windows"] / alone.steps["windows"] == pytest.approx(3.0 / 2.5)
    assert hosted.peak_bytes == alone.fitting[1] + (hosted.fitting[2] - alone.fitting[1])


def test_classes_within_a_limit(segmenter: Segmenter) -> None:
    scan = read_scan(make_scan())
    cost = predict(segmenter, RATES, segmenter.prepare(scan), segmenter.classes.names)
    assert cost.fitting[len(segmenter.classes.names)] == cost.peak_bytes
    assert cost.classes_within(cost.fitting[2]) >= 2
    assert cost.classes_within(cost.peak_bytes) == len(segmenter.classes.names)
    assert cost.classes_within(10) == 0
