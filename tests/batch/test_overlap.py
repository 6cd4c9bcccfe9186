"""Scans that overlap give the same files in the same order, within their memory, and end well."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest

from support.samples import make_scan
from umlite import Segmenter
from umlite.batch import overlap as overlap_module
from umlite.batch.jobs import Job, lay_out_jobs
from umlite.batch.model import Model
from umlite.batch.orders import Orders
from umlite.batch.outcome import Outcome
from umlite.batch.overlap import Overlap
from umlite.batch.run import Watcher, real_paths, run_jobs, run_overlapped
from umlite.batch.steps import Steps
from umlite.cost.forecast import Forecast
from umlite.cost.limits import Limits
from umlite.errors import DeviceError
from umlite.products.wanted import Wanted
from umlite.request import Request

ORDERS = Orders(Request(("liver",), overlap=0.0), Wanted(checks=False))


@pytest.fixture(scope="module")
def segmenter(small_weights: Path) -> Segmenter:
    return Segmenter(small_weights, device="cpu")


@pytest.fixture
def scans(tmp_path: Path) -> list[Path]:
    """Five scans, one of them bad."""
    paths = [tmp_path / f"{name}.nii" for name in ("a", "b", "bad", "c", "d")]
    for seed, path in enumerate(paths):
        nib.save(make_scan((20, 18, 16), seed=seed), path)
    paths[2].write_text("no scan")
    return paths


def overlapped(segmenter: Segmenter, jobs: list[Job], orders: Orders = ORDERS, **options: Any) -> Iterator[Outcome]:
    forecast_of = options.pop("forecast_of", lambda s: Forecast(s, orders.request))
    model, watcher = Model.of(segmenter), Watcher(**options)
    steps = Steps(model, orders, real_paths(jobs))
    return run_overlapped(
        model, iter(jobs), steps, orders, say=lambda one: one, forecast_of=forecast_of, watcher=watcher
    )


def masks(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.nii.gz"))}


def test_the_same_files_in_the_same_order(segmenter: Segmenter, scans: list[Path], tmp_path: Path) -> None:
    one, three = (lay_out_jobs(scans, tmp_path / name) for name in ("one", "three"))
    plain = list(run_jobs(Model.of(segmenter), one, ORDERS))
    found = list(overlapped(segmenter, three))
    assert [o.job.scan for o in found] == scans
    assert [o.error is None for o in found] == [o.error is None for o in plain] == [True, True, False, True, True]
    assert masks(tmp_path / "three") == masks(tmp_path / "one")
    assert len(masks(tmp_path / "three")) == 4
    (tmp_path / "three" / "c" / "liver.nii.gz").unlink()
    assert [o.skipped for o in overlapped(segmenter, three)] == [True, True, False, False, True]


@pytest.mark.parametrize("limit", [None, 10**12, 1])
def test_scans_share_memory_only_where_it_suffices(segmenter, scans, tmp_path, monkeypatch, limit) -> None:
    """Within a limit that is too small for two of them, one is read after the other is written."""
    inside, most = set(), 0
    lock = threading.Lock()
    prepare, finish = segmenter.prepare, segmenter.finish

    def enter(scan: Path, **options: Any) -> Any:
        nonlocal most
        with lock:
            inside.add(scan)
            most = max(most, len(inside))
        return prepare(scan, **options)

    def leave(decided: Any) -> Any:
        result = finish(decided)
        with lock:
            inside.discard(decided.scan.path)
        return result

    class Tight(Forecast):
        def fits(self, scans_bytes: int) -> bool:
            assert scans_bytes > 0
            return limit is None or scans_bytes <= limit

    monkeypatch.setattr(segmenter, "prepare", enter)
    monkeypatch.setattr(segmenter, "finish", leave)
    good = [path for path in scans if path.name != "bad.nii"]
    list(overlapped(segmenter, lay_out_jobs(good, tmp_path / "out"), forecast_of=lambda s: Tight(s)))
    assert most <= (1 if limit == 1 else 3)


def test_a_limit_counts_all_scans_in_memory(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, scans) -> None:
    monkeypatch.setattr("umlite.cost.forecast.calibration_of", lambda *_, **__: Calibrated())
    forecast = Forecast(segmenter, ORDERS.request, Limits(ram=1000))
    assert forecast.fits(800)
    assert not forecast.fits(901)
    size = forecast.size_of(scans[0], ORDERS.request)
    prepared = segmenter.prepare(scans[0])
    assert size > prepared.volume.voxels.numel() * 4
    assert forecast.size_of(scans[2], ORDERS.request) == 0


class Calibrated:
    process_bytes, class_bytes = 100, 0


def test_a_scan_that_was_refused_memory_is_tried_again_alone(segmenter, scans, tmp_path, monkeypatch) -> None:
    decide, tried = segmenter.decide, []
    begun = threading.Event()

    def refused(prepared: Any, *args: Any, **options: Any) -> Any:
        name = prepared.scan.path.name
        tried.append(name)
        if name == "a.nii" and tried.count(name) == 1:
            begun.wait(60)
            raise DeviceError("The system refused memory.")
        return decide(prepared, *args, **options)

    def reading(scan: Path, **options: Any) -> Any:
        if scan.name == "b.nii":
            begun.set()
        return prepare(scan, **options)

    prepare = segmenter.prepare
    monkeypatch.setattr(segmenter, "decide", refused)
    monkeypatch.setattr(segmenter, "prepare", reading)
    found = list(overlapped(segmenter, lay_out_jobs(scans[:2], tmp_path / "out")))
    assert [o.error for o in found] == [None, None]
    assert tried == ["a.nii", "b.nii", "a.nii"]


def test_an_interruption_finishes_what_is_computed(segmenter, scans, tmp_path) -> None:
    def progress_of(name: str) -> Any:
        def progress(_done: int, _total: int) -> None:
            if name == "b.nii":
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        return progress

    found: list[Outcome] = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        for outcome in overlapped(segmenter, lay_out_jobs(scans, tmp_path / "out"), progress_of=progress_of):
            found.append(outcome)
    written = [o.job.scan.stem for o in found if o.error is None]
    assert written in (["a"], ["a", "b"])  # b too, if its last window had begun
    assert list(masks(tmp_path / "out")) == [f"{name}/liver.nii.gz" for name in written]
    assert not list(tmp_path.rglob(".umlite-*"))


def test_a_defect_between_the_steps_ends_the_run(segmenter, scans, tmp_path) -> None:
    def broken(_name: str) -> Any:
        raise SystemExit("a defect")

    with pytest.raises(SystemExit, match="a defect"):
        list(overlapped(segmenter, lay_out_jobs(scans[:2], tmp_path / "out"), progress_of=broken))


def test_a_run_in_which_nothing_moves_says_where_it_stands(segmenter, scans, tmp_path, monkeypatch) -> None:
    told: list[str] = []
    shown = threading.Event()
    monkeypatch.setattr(overlap_module, "STUCK_S", 0.0)
    monkeypatch.setattr(overlap_module, "_LOOK_S", 0.01)
    monkeypatch.setattr(overlap_module, "show_stacks", shown.set)
    prepare = segmenter.prepare

    def stuck(scan: Path, **options: Any) -> Any:
        shown.wait(60)
        return prepare(scan, **options)

    monkeypatch.setattr(segmenter, "prepare", stuck)
    jobs = lay_out_jobs(scans[:2], tmp_path / "out")
    assert len(list(overlapped(segmenter, jobs, notify=told.append))) == 2
    assert "Nothing has moved" in told[0]


def test_a_system_that_refuses_threads_gets_one_scan_after_the_other(segmenter, scans, tmp_path, monkeypatch) -> None:
    start, started = threading.Thread.start, []

    def refused(thread: threading.Thread) -> None:
        started.append(thread)
        if len(started) == 3:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)
    found = list(overlapped(segmenter, lay_out_jobs(scans, tmp_path / "out")))
    assert [o.error is None for o in found] == [True, True, False, True, True]


def test_one_computed_result_at_most_waits_for_its_files(segmenter, scans, tmp_path, monkeypatch) -> None:
    """A kill costs no more than that: the next scan stops before its last windows until the one before is written."""
    finish, wait = segmenter.finish, Overlap._wait_for_writing
    stopped, went_on = threading.Event(), threading.Event()
    first: list[Path] = []

    def waiting(overlap: Overlap[Any]) -> None:
        if first:
            stopped.set()
        wait(overlap)
        if first:
            went_on.set()

    def finishing(decided: Any) -> Any:
        first.append(decided.scan.path)
        if len(first) == 1:
            stopped.wait(60)
            assert not went_on.wait(0.05)
        return finish(decided)

    monkeypatch.setattr(segmenter, "finish", finishing)
    monkeypatch.setattr(Overlap, "_wait_for_writing", waiting)
    found = list(overlapped(segmenter, lay_out_jobs(scans[:2], tmp_path / "out")))
    assert [o.error for o in found] == [None, None]
