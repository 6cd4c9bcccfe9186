"""What is done is not done again, and nothing that is not ours is replaced."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest

from support.samples import make_scan, small_card, small_model
from umlite import Segmenter
from umlite.batch import saving
from umlite.batch.jobs import Job, lay_out_jobs
from umlite.batch.model import Model
from umlite.batch.orders import Orders
from umlite.batch.outcome import Outcome
from umlite.batch.run import run_jobs
from umlite.engines.options import EngineOptions
from umlite.outputs.staging import Staging, hidden_names
from umlite.products.formats import LABEL_MAP
from umlite.products.place import Place
from umlite.products.wanted import Wanted
from umlite.request import Request
from umlite.weights.loading import save_model

REQUEST = Request(("liver", "spleen"), overlap=0.0)


@pytest.fixture(scope="module")
def segmenter(small_weights: Path) -> Segmenter:
    return Segmenter(small_weights, device="cpu")


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.nii"
    nib.save(make_scan((20, 18, 16)), path)
    return path


def again(segmenter: Segmenter, job: Job, request: Request = REQUEST, **orders: Any) -> Outcome:
    (outcome,) = run_jobs(Model.of(segmenter), [job], Orders(request, **orders))
    return outcome


@pytest.fixture
def job(segmenter: Segmenter, scan: Path, tmp_path: Path) -> Job:
    """A job that is done."""
    done = Job(scan, Place(tmp_path / "out"))
    assert again(segmenter, done).error is None
    return done


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of change of every file."""
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def test_a_finished_scan_is_skipped_without_its_network(small_weights: Path, job: Job) -> None:
    before = content(job.output)
    model = Model(small_weights, EngineOptions(device="cpu"), lambda: pytest.fail("the network was loaded"))
    for orders in (Orders(REQUEST), Orders(REQUEST, overwrite=True), Orders(REQUEST, verify_hashes=True)):
        (outcome,) = run_jobs(model, [job], orders)
        assert outcome.skipped
        assert outcome.manifest == json.loads((job.output / "manifest.json").read_text())
        assert sorted(file.name for file in outcome.files) == ["liver.nii.gz", "spleen.nii.gz"]
    assert content(job.output) == before


def test_what_a_run_left_above_folders_it_had_not_made_yet_goes(segmenter: Segmenter, job: Job, tmp_path: Path) -> None:
    dead, living = Staging(tmp_path), Staging(tmp_path)
    dead.make()
    dead.release()  # as the death of its process does
    living.make()
    try:
        assert again(segmenter, job).skipped
        assert hidden_names(tmp_path) == [living.folder]
    finally:
        living.remove()


def test_force_computes_again_what_its_own_manifest_lists(segmenter: Segmenter, job: Job) -> None:
    before = (job.output / "liver.nii.gz").stat().st_mtime_ns
    outcome = again(segmenter, job, force=True)
    assert outcome.error is None
    assert not outcome.skipped
    assert (job.output / "liver.nii.gz").stat().st_mtime_ns > before
    (job.output / "stomach.nii.gz").write_text("somebody's")
    refused = again(segmenter, job, Request(("liver", "stomach"), overlap=0.0), force=True)
    assert "stomach.nii.gz exists already" in str(refused.error)


@pytest.mark.parametrize("harm", ["missing", "cut", "changed", "unlisted"])
def test_a_broken_result_is_made_again_unasked(segmenter: Segmenter, job: Job, harm: str) -> None:
    liver, manifest = job.output / "liver.nii.gz", job.output / "manifest.json"
    right = liver.read_bytes()
    if harm == "missing":
        liver.unlink()
    elif harm == "cut":
        liver.write_bytes(right[:-5])
    elif harm == "changed":
        liver.write_bytes(right[:-1] + b"?")
    else:
        data = json.loads(manifest.read_text())
        liver.unlink()
        manifest.write_text(json.dumps({**data, "outputs": [o for o in data["outputs"] if o["file"] != liver.name]}))
    outcome = again(segmenter, job)
    assert outcome.error is None
    assert not outcome.skipped
    assert liver.read_bytes() == right
    assert again(segmenter, job).skipped


def test_files_that_were_only_touched_are_read_and_kept(segmenter: Segmenter, job: Job) -> None:
    for path in (job.output / "liver.nii.gz", job.scan):
        os.utime(path, ns=(1, 1))
    assert again(segmenter, job).skipped


def test_a_change_that_keeps_size_and_time_is_found_by_hashes(segmenter: Segmenter, job: Job) -> None:
    liver = job.output / "liver.nii.gz"
    time, right = liver.stat().st_mtime_ns, liver.read_bytes()
    liver.write_bytes(right[:-1] + b"?")
    os.utime(liver, ns=(time, time))
    assert again(segmenter, job).skipped
    assert not again(segmenter, job, verify_hashes=True).skipped
    assert liver.read_bytes() == right


def test_another_scan_of_the_same_size_and_time_is_not_taken_for_it(segmenter: Segmenter, job: Job, tmp_path) -> None:
    other = tmp_path / "other.nii"
    nib.save(make_scan((20, 18, 16), seed=3), other)
    time = job.scan.stat().st_mtime_ns
    os.utime(other, ns=(time, time))
    outcome = again(segmenter, Job(other, job.place))
    assert "already, of a run that differs in: scan" in str(outcome.error)
    twin = tmp_path / "twin.nii"
    shutil.copy(job.scan, twin)
    assert again(segmenter, Job(twin, job.place)).skipped


def test_results_of_another_request_or_weights_stay(segmenter: Segmenter, job: Job, tmp_path: Path) -> None:
    before = content(job.output)
    liver = Request(("liver",), overlap=0.5)
    assert "differs in: classes, overlap" in str(again(segmenter, job, liver).error)
    told = again(segmenter, job, wanted=Wanted(statistics=True))
    assert "differs in: statistics" in str(told.error)
    model = small_model(seed=7)
    save_model(tmp_path / "w.safetensors", model.state_dict(), small_card(model))
    told = again(Segmenter(tmp_path / "w.safetensors", device="cpu"), job)
    assert "differs in: weights" in str(told.error)
    assert content(job.output) == before


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "[" * 100_000, '{"kind": "umlite run"}', "\0", '{"kind": "umlite run", "schema": 1e999}'],
)
def test_a_damaged_manifest_counts_as_none(segmenter: Segmenter, job: Job, text: str) -> None:
    (job.output / "manifest.json").write_text(text)
    assert "already. Choose" in str(again(segmenter, job).error)
    assert again(segmenter, job, overwrite=True).error is None
    assert again(segmenter, job).skipped


@pytest.mark.parametrize(
    ("field", "value"),
    [("outputs", {}), ("outputs", [{"file": 3}]), ("input", []), ("request", {"classes": 1}), ("weights", None)],
)
def test_a_manifest_with_wrong_parts_counts_as_none(segmenter: Segmenter, job: Job, field: str, value: object) -> None:
    path = job.output / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    assert "exist already" in str(again(segmenter, job).error)


def test_a_manifest_cannot_have_other_files_replaced(segmenter: Segmenter, job: Job, tmp_path: Path) -> None:
    """It lists a file of somebody's and lacks a mask: only the mask is made again."""
    theirs = tmp_path / "theirs.txt"
    theirs.write_text("keep")
    path = job.output / "manifest.json"
    data = json.loads(path.read_text())
    data["outputs"].append({**data["outputs"][0], "file": str(theirs)})
    path.write_text(json.dumps(data))
    assert again(segmenter, job).error is None
    assert theirs.read_text() == "keep"


def test_label_maps_have_manifests_of_their_own(segmenter: Segmenter, tmp_path: Path) -> None:
    scans = [tmp_path / f"{name}.nii" for name in "ab"]
    for seed, path in enumerate(scans):
        nib.save(make_scan((20, 18, 16), seed=seed), path)
    jobs = lay_out_jobs(scans, tmp_path / "out", LABEL_MAP)
    model, orders = Model.of(segmenter), Orders(REQUEST)
    assert [o.skipped for o in run_jobs(model, jobs, orders)] == [False, False]
    (tmp_path / "out" / "b.nii.gz").unlink()
    assert [o.skipped for o in run_jobs(model, jobs, orders)] == [True, False]


def test_a_result_that_another_run_makes_meanwhile_is_taken(segmenter, scan, tmp_path, monkeypatch) -> None:
    job, finish = Job(scan, Place(tmp_path / "out")), segmenter.finish

    def slowly(*args, **options):
        result = finish(*args, **options)
        monkeypatch.setattr(segmenter, "finish", finish)
        assert again(segmenter, job).error is None
        return result

    monkeypatch.setattr(segmenter, "finish", slowly)
    outcome = again(segmenter, job)
    assert outcome.error is None
    assert outcome.skipped


def test_a_result_that_another_run_makes_while_this_one_writes_is_taken(segmenter, scan, tmp_path, monkeypatch) -> None:
    job = Job(scan, Place(tmp_path / "out"))
    write = saving.write_products

    def slowly(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(saving, "write_products", write)
        assert again(segmenter, job).error is None
        return write(*args, **options)

    monkeypatch.setattr(saving, "write_products", slowly)
    outcome = again(segmenter, job)
    assert outcome.error is None
    assert outcome.skipped
