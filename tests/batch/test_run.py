"""One failure costs no other scan, and no result is lost."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest

from support.full_disk import full_disk, needs_full_disk
from support.samples import make_scan
from umlite import Segmenter
from umlite.batch.jobs import Job, lay_out_jobs
from umlite.batch.model import Model
from umlite.batch.orders import Orders
from umlite.batch.run import run_jobs
from umlite.cost import measuring
from umlite.cost.forecast import Forecast
from umlite.cost.limits import Limits
from umlite.errors import DeviceError, InputError, OutputError, RequestError, UmliteError
from umlite.products.formats import LABEL_MAP, MASKS, format_of
from umlite.products.place import Place
from umlite.products.wanted import Wanted
from umlite.request import Request


@pytest.fixture(scope="module")
def segmenter(small_weights: Path) -> Segmenter:
    return Segmenter(small_weights, device="cpu")


REQUEST = Request(("liver",), overlap=0.0)


def run(segmenter: Segmenter, jobs: list[Job], *, forecast: Forecast | None = None, **orders: Any) -> list:
    forecast_of = None if forecast is None else lambda _segmenter: forecast
    return list(run_jobs(Model.of(segmenter), jobs, Orders(REQUEST, **orders), forecast_of=forecast_of))


def test_bad_scans_between_good_ones(segmenter: Segmenter, scan_file: Path, tmp_path: Path) -> None:
    (tmp_path / "text.nii.gz").write_text("no scan")
    nib.save(make_scan((20, 20, 20), seed=5), tmp_path / "second.nii")
    scans = [tmp_path / "absent.nii", scan_file, tmp_path / "text.nii.gz", tmp_path / "second.nii"]
    outcomes = run(segmenter, lay_out_jobs(scans, tmp_path / "out"))
    assert [outcome.error is None for outcome in outcomes] == [False, True, False, True]
    assert sorted(p.relative_to(tmp_path / "out") for p in (tmp_path / "out").rglob("*.nii.gz")) == [
        Path("scan/liver.nii.gz"),
        Path("second/liver.nii.gz"),
    ]


def test_a_defect_of_ours_does_not_stop_the_others(segmenter, scan_file, tmp_path, monkeypatch) -> None:
    def broken(*_args, **_options):
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(segmenter, "decide", broken)
    outcomes = run(segmenter, [Job(scan_file, Place(tmp_path / "a")), Job(scan_file, Place(tmp_path / "b"))])
    assert [type(outcome.error) for outcome in outcomes] == [ZeroDivisionError] * 2


def test_results_are_replaced_only_on_request(segmenter: Segmenter, scan_file: Path, tmp_path: Path) -> None:
    job = Job(scan_file, Place(tmp_path / "out"))
    assert run(segmenter, [job])[0].error is None
    (tmp_path / "out" / "manifest.json").unlink()
    before = (tmp_path / "out" / "liver.nii.gz").stat()
    refused = run(segmenter, [job])[0].error
    assert isinstance(refused, OutputError)
    assert refused.about == ("overwrite", "output")
    assert (tmp_path / "out" / "liver.nii.gz").stat().st_mtime_ns == before.st_mtime_ns
    assert run(segmenter, [job], overwrite=True)[0].error is None


def test_a_scan_is_never_replaced(segmenter: Segmenter, tmp_path: Path) -> None:
    scan = tmp_path / "liver.nii.gz"
    nib.save(make_scan((8, 8, 8)), scan)
    content = scan.read_bytes()
    (tmp_path / "x").mkdir()
    for output in (tmp_path, scan, tmp_path / "x" / ".." / "liver.nii.gz"):
        chosen = format_of(output, None)
        error = run(segmenter, lay_out_jobs([scan], output, chosen), overwrite=True)[0].error
        assert "one of the scans" in str(error)
    assert scan.read_bytes() == content


def test_unwritable_places_are_found_before_the_computation(segmenter, scan_file, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(segmenter, "prepare", lambda *_, **__: pytest.fail("computed in vain"))
    (tmp_path / "file").touch()
    error = run(segmenter, [Job(scan_file, Place(tmp_path / "file" / "out"))])[0].error
    assert isinstance(error, OutputError)
    assert "a file is where a folder is needed" in str(error)


@needs_full_disk
@pytest.mark.parametrize("label_map", [False, True])
def test_a_finished_result_survives_a_full_disk(segmenter, scan_file, tmp_path, monkeypatch, label_map: bool) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    full_disk(monkeypatch, lambda path: path.parent == tmp_path / "out")
    jobs = lay_out_jobs([scan_file], tmp_path / "out", LABEL_MAP if label_map else MASKS)
    outcome = run(segmenter, jobs)[0]
    assert isinstance(outcome.error, OutputError)
    assert "disk is full" in str(outcome.error)
    (kept,) = tmp_path.glob("umlite-rescued-*/**/*.nii.gz")
    assert str(kept.parent) in str(outcome.error)
    assert nib.load(kept).shape == nib.load(scan_file).shape
    assert not (tmp_path / "out").exists()


def test_a_finished_result_survives_statistics_that_fail(segmenter, scan_file, tmp_path, monkeypatch) -> None:
    """The scan changes between the windows and its second reading."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def changed(*_: object) -> None:
        raise InputError("The scan changed while it was read.")

    monkeypatch.setattr("umlite.results.statistics._Counts.add", changed)
    (outcome,) = run(segmenter, lay_out_jobs([scan_file], tmp_path / "out"), wanted=Wanted(statistics=True))
    assert isinstance(outcome.error, UmliteError)
    assert "changed while it was read" in str(outcome.error)
    (kept,) = tmp_path.glob("umlite-rescued-*/masks/liver.nii.gz")
    assert str(kept.parent) in str(outcome.error)
    assert not (tmp_path / "out").exists()


def test_a_result_that_came_meanwhile_is_kept(segmenter, scan_file, tmp_path, monkeypatch) -> None:
    """Another run writes the same result while this one computes."""
    target = tmp_path / "out" / "liver.nii.gz"
    finish = segmenter.finish

    def slowly(*args, **options):
        result = finish(*args, **options)
        target.parent.mkdir()
        target.write_bytes(b"another run's")
        return result

    monkeypatch.setattr(segmenter, "finish", slowly)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    error = run(segmenter, [Job(scan_file, Place(tmp_path / "out"))])[0].error
    assert "already" in str(error)
    assert target.read_bytes() == b"another run's"
    assert list(tmp_path.glob("umlite-rescued-*/masks/liver.nii.gz"))


@pytest.mark.parametrize("length", [230, 245, 255, 300])
def test_long_names(segmenter, scan_file, tmp_path, length: int) -> None:
    """Written, or refused before the computation; never a traceback."""
    outcome = run(
        segmenter,
        [
            Job(
                scan_file,
                Place(tmp_path / ("a" * (length - 7) + ".nii.gz"), False, with_manifest=False),
                format="label-map",
            )
        ],
    )[0]
    if length <= 255:
        assert outcome.error is None
    else:
        assert isinstance(outcome.error, OutputError)
        assert "too long" in str(outcome.error)


def test_a_folder_in_the_way(segmenter, scan_file, tmp_path) -> None:
    (tmp_path / "out" / "liver.nii.gz").mkdir(parents=True)
    error = run(segmenter, [Job(scan_file, Place(tmp_path / "out"))], overwrite=True)[0].error
    assert "a folder of that name exists" in str(error)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_place_that_refuses_files(segmenter, scan_file, tmp_path, monkeypatch, number: int) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("umlite.batch.saving.rehearse", refuse)
    monkeypatch.setattr(segmenter, "prepare", lambda *_, **__: pytest.fail("computed in vain"))
    error = run(segmenter, [Job(scan_file, Place(tmp_path / "out"))])[0].error
    assert isinstance(error, OutputError)
    assert "Choose" in str(error)


@pytest.fixture
def _quick_calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMLITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(measuring, "SECONDS", 0.0)
    monkeypatch.setattr(measuring, "SIDE", 40)


@pytest.mark.usefixtures("_quick_calibration")
def test_costs_are_reported_beside_what_was_predicted(segmenter, scan_file, tmp_path) -> None:
    cost = run(segmenter, [Job(scan_file, Place(tmp_path / "a"))])[0].cost
    assert cost.seconds > 0
    assert cost.predicted is None
    assert cost.to_dict()["actual"]["peak_gb"] > 0
    roomy = Forecast(segmenter, REQUEST, Limits(ram=10**12))
    (outcome,) = run(segmenter, [Job(scan_file, Place(tmp_path / "b"))], forecast=roomy)
    found = outcome.cost.to_dict()
    assert found["predicted"]["windows"] == outcome.result.windows.total
    assert found["actual"]["seconds"] == pytest.approx(sum(found["timings_s"].values()), abs=0.01)
    assert "predicted), " in str(outcome.cost)


@pytest.mark.usefixtures("_quick_calibration")
def test_a_scan_beyond_the_limit_is_refused_before_its_windows(segmenter, scan_file, tmp_path, monkeypatch) -> None:
    tight = Forecast(segmenter, REQUEST, Limits(ram=20_000_000))
    monkeypatch.setattr("umlite.api.decide_volume", lambda *_, **__: pytest.fail("computed in vain"))
    (outcome,) = run(segmenter, [Job(scan_file, Place(tmp_path / "out"))], forecast=tight)
    assert isinstance(outcome.error, DeviceError)
    assert "more than the 20 MB allowed" in str(outcome.error)
    assert not (tmp_path / "out").exists()


def test_a_request_that_cannot_be_served_runs_nothing(segmenter, scan_file, tmp_path) -> None:
    def runs(classes: str, overlap: float) -> None:
        orders = Orders(Request.of(classes, overlap=overlap))
        list(run_jobs(Model.of(segmenter), [Job(scan_file, Place(tmp_path))], orders))

    for classes, overlap in (("liverr", 0.5), ("liver", 1.0), ("liver", float("nan"))):
        with pytest.raises(RequestError):
            runs(classes, overlap)
