"""Several processes when memory runs out, a signal comes, or scans are DICOM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import nibabel as nib
import pytest

from support import crew as support
from support.command_line import run
from support.dicom import Shot, phantom_hu, write_series
from support.samples import make_scan
from umlite.batch.batch import Batch
from umlite.batch.crew import CrewOptions
from umlite.batch.jobs import lay_out_jobs
from umlite.batch.model import Model
from umlite.batch.orders import Orders
from umlite.batch.overlap import INTERRUPTED
from umlite.batch.run import Watcher
from umlite.engines.options import EngineOptions
from umlite.errors import DeviceError
from umlite.products.wanted import Wanted
from umlite.request import Request

ROOT = Path(__file__).parents[2]
ORDERS = Orders(Request(("liver",), overlap=0.0), Wanted(checks=False))
OPTIONS = EngineOptions(device="cpu", threads=1)
COMMAND = """
import sys
from umlite.commands import segment
from support import crew
segment.load = crew.load_for_command
sys.argv[:1] = ["umlite"]
from umlite.__main__ import main
main()
"""


def scans_of(folder: Path, *names: str) -> list[Path]:
    paths = [folder / f"{name}.nii" for name in names]
    for seed, path in enumerate(paths):
        nib.save(make_scan((20, 18, 16), seed=seed), path)
    return paths


def batch(weights: Path, workers: int, load: object = None) -> Batch:
    load = load or partial(support.load, weights)
    return Batch(Model(weights, OPTIONS, pytest.fail), ORDERS, load, support.forecast, CrewOptions(workers))


@pytest.mark.slow
def test_a_scan_that_is_refused_memory_is_tried_alone(small_weights: Path, tmp_path: Path) -> None:
    """The process waits for more jobs all the while, and the run for this one."""
    jobs = lay_out_jobs(scans_of(tmp_path, "patient", "crowded", "c"), tmp_path / "out")
    found = {told.job.scan.stem: told.error for told in batch(small_weights, 1).run(jobs)}
    assert found == {"patient": None, "crowded": None, "c": None}
    assert (tmp_path / "crowded.tried").exists()


@pytest.mark.slow
def test_a_process_without_a_network_leaves_its_part_to_the_others(small_weights: Path, tmp_path: Path) -> None:
    jobs, said = lay_out_jobs(scans_of(tmp_path, *"abcd"), tmp_path / "out"), list[str]()
    load = partial(support.load_in_all_but_one, small_weights, tmp_path / "first")
    found = list(batch(small_weights, 2, load).run(jobs, Watcher(notify=said.append)))
    assert sorted(told.job.scan.stem for told in found if told.error is None) == list("abcd")
    assert any("cannot go on: The system refused 1074 MB" in sentence for sentence in said)
    (tmp_path / "first").unlink()
    with pytest.raises(DeviceError, match="The system refused 1074 MB"):
        list(batch(small_weights, 1, load).run(lay_out_jobs([tmp_path / "a.nii"], tmp_path / "other")))


@contextmanager
def running(weights: Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A run of two scans, one held before it is written, one that is never read; both under way."""
    paths = scans_of(folder, "held", "endless")
    words = ["segment", *map(str, paths), "-c", "liver", "-o", "out", "--workers", "1", "--jsonl", "-", "--no-checks"]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words, "--weights", str(weights), "--device", "cpu", "--overlap", "0"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        support.await_file(folder / "held.tried")
        yield process
    finally:
        process.kill()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_what_is_computed_be_written_and_told(small_weights, tmp_path, number: int, code: int) -> None:
    with running(small_weights, tmp_path) as process:
        process.send_signal(number)
        (tmp_path / "go").touch()
        lines, errors = process.communicate()
    assert process.returncode == code
    assert errors == f"{INTERRUPTED}\nInterrupted: no partial file was left.\n"
    assert [json.loads(line)["status"] for line in lines.splitlines()] == ["done"]
    assert sorted(p.name for p in (tmp_path / "out").rglob("*")) == ["held", "liver.nii.gz", "manifest.json"]


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(small_weights: Path, tmp_path: Path) -> None:
    with running(small_weights, tmp_path) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert process.stderr.readline() == f"{INTERRUPTED}\n"
        process.send_signal(signal.SIGINT)
        lines, errors = process.communicate()
    assert process.returncode == 143
    assert errors == "Interrupted: no partial file was left.\n"
    assert lines == ""
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


@pytest.mark.slow
def test_folders_of_dicom(small_weights: Path, tmp_path: Path) -> None:
    for seed, name in enumerate(("one", "deep/two")):
        write_series(tmp_path / "study" / name, phantom_hu(seed=seed), Shot(series=f"1.2.{seed}", number=seed + 1))
    base = ("segment", tmp_path / "study", "-c", "liver", "--weights", small_weights, "--overlap", "0", "--no-checks")
    run(*base, "--device", "cpu", "-o", tmp_path / "each", "--series", "all")
    run(*base, "--device", "cpu", "-o", tmp_path / "many", "--series", "all", "--workers", "2")
    each, many = (
        {p.relative_to(f): p.read_bytes() for p in f.rglob("*.nii.gz")} for f in (tmp_path / "each", tmp_path / "many")
    )
    assert each == many
    assert len(each) == 2
