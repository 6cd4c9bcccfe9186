"""Batches in several processes and in shards: same results, and no scan can take others down."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import nibabel as nib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import crew as support
from support.samples import make_scan
from umlite.batch.batch import Batch, part_of, shard_of
from umlite.batch.crew import CrewOptions, shares
from umlite.batch.jobs import Job, lay_out_jobs
from umlite.batch.model import Model
from umlite.batch.orders import Orders
from umlite.batch.run import Watcher
from umlite.engines.options import EngineOptions
from umlite.errors import RequestError
from umlite.products.place import Place
from umlite.products.wanted import Wanted
from umlite.request import Request

ORDERS = Orders(Request(("liver",), overlap=0.0), Wanted(checks=False))
OPTIONS = EngineOptions(device="cpu", threads=2)


def batch(weights: Path, crew: CrewOptions | None) -> Batch:
    load = partial(support.load, weights)
    return Batch(Model(weights, OPTIONS, partial(load, OPTIONS)), ORDERS, load, support.forecast, crew)


def masks(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.nii.gz"))}


def scans_of(folder: Path, *names: str) -> list[Path]:
    paths = [folder / f"{name}.nii" for name in names]
    for seed, path in enumerate(paths):
        nib.save(make_scan((20, 18, 16), seed=seed), path)
    return paths


def test_processes_that_die_cost_no_other_scan(small_weights: Path, tmp_path: Path) -> None:
    paths = scans_of(tmp_path, "a", "deadly", "b", "bad", "once", "c")
    paths[3].write_text("no scan")
    said: list[str] = []
    jobs = lay_out_jobs(paths, tmp_path / "many")
    spread = batch(small_weights, CrewOptions(workers=2))
    found = {told.job.scan.stem: told for told in spread.run(jobs, Watcher(notify=said.append))}
    errors = {name: told.code for name, told in found.items() if told.error}
    assert errors == {"bad": "input", "deadly": "givenup"}
    assert found.keys() == {path.stem for path in paths}
    assert "ended twice (signal 9)" in str(found["deadly"].error)
    assert any("is replaced" in sentence for sentence in said)
    good = [path for path in paths if path.stem in "abc"]
    assert all(told.error is None for told in batch(small_weights, None).run(lay_out_jobs(good, tmp_path / "one")))
    many, one = masks(tmp_path / "many"), masks(tmp_path / "one")
    assert {name: many[name] for name in one} == one
    again = batch(small_weights, CrewOptions(workers=2)).run(lay_out_jobs(good, tmp_path / "many"))
    assert all(told.skipped for told in again)  # without starting a process


@pytest.mark.slow
@pytest.mark.parametrize("limit", [15.0, None])
def test_a_scan_that_never_ends_is_given_up(small_weights: Path, tmp_path: Path, monkeypatch, limit) -> None:
    """After the limit that was asked for, or when its process says nothing for long."""
    monkeypatch.setattr("umlite.batch.crew.STUCK_S", 30.0 if limit is None else 3600.0)
    jobs = lay_out_jobs(scans_of(tmp_path, "a", "endless", "b"), tmp_path / "out")
    spread = batch(small_weights, CrewOptions(workers=1, scan_timeout_s=limit))
    found = {told.job.scan.stem: told for told in spread.run(jobs)}
    assert [found[name].error for name in "ab"] == [None, None]
    assert ("did not move" if limit is None else "longer than 15 s") in str(found["endless"].error)


def test_shares() -> None:
    found = shares(EngineOptions(device="cpu", threads=5, max_ram=9_000_000_001), 3)
    assert [(s.threads, s.max_ram) for s in found] == [(1, 3_000_000_000)] * 3
    assert shares(EngineOptions(device="cpu", threads=1), 2)[1].threads == 1


@given(st.lists(st.floats(0, 1000), max_size=40), st.integers(1, 9))
def test_shards_are_disjoint_complete_and_balanced(costs: list[float], parts: int) -> None:
    jobs = [Job(Path(f"{n}.nii"), Place(Path(f"out/{n}"))) for n in range(len(costs))]

    def cost_of(job: Job) -> float:
        return costs[int(job.scan.stem)]

    shards = [part_of(jobs, (number, parts), cost_of) for number in range(1, parts + 1)]
    assert sorted(str(job.scan) for shard in shards for job in shard) == sorted(str(job.scan) for job in jobs)
    loads = [math.fsum(map(cost_of, shard)) for shard in shards]
    assert max(loads) - min(loads) <= max(costs, default=0) + 1e-6
    shuffled = [part_of(jobs[::-1], (number, parts), cost_of) for number in range(1, parts + 1)]
    assert [set(map(str, (j.scan for j in shard))) for shard in shuffled] == [
        set(map(str, (j.scan for j in shard))) for shard in shards
    ]


@pytest.mark.parametrize("text", ["", "0/3", "4/3", "1/0", "a/b", "1", "-1/2", "1/2/3"])
def test_shards_that_do_not_exist(text: str) -> None:
    with pytest.raises(RequestError, match="such as 2/8"):
        shard_of(text)
