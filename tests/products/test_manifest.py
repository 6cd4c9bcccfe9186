"""The run manifest: what a result depends on, and its files with their hashes."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from umlite import Segmenter
from umlite.batch.jobs import Job, lay_out_jobs
from umlite.batch.model import Model
from umlite.batch.orders import Orders
from umlite.batch.outcome import Outcome
from umlite.batch.run import run_jobs
from umlite.errors import OutputError, RequestError
from umlite.products.formats import LABEL_MAP
from umlite.products.place import Place
from umlite.products.wanted import Wanted
from umlite.request import Request

REQUEST = Request(("liver", "spleen"), overlap=0.0)


@pytest.fixture(scope="module")
def segmenter(small_weights: Path) -> Segmenter:
    return Segmenter(small_weights, device="cpu")


def run(segmenter: Segmenter, scan: Path, out: Path, request: Request = REQUEST, **options) -> Outcome:
    (outcome,) = run_jobs(Model.of(segmenter), lay_out_jobs([scan], out), Orders(request, **options))
    if outcome.error:
        raise outcome.error
    return outcome


def test_it_says_what_a_result_depends_on(segmenter: Segmenter, scan_file: Path, tmp_path: Path) -> None:
    outcome = run(segmenter, scan_file, tmp_path / "out", wanted=Wanted(statistics=True))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest == json.loads(json.dumps(outcome.manifest))
    assert manifest["input"]["path"] == str(scan_file)
    assert manifest["input"]["sha256"] == hashlib.sha256(scan_file.read_bytes()).hexdigest()
    assert manifest["weights"]["sha256"] == hashlib.sha256(segmenter.weights_path.read_bytes()).hexdigest()
    assert Request.from_dict(manifest["request"]) == REQUEST
    assert Wanted.from_dict(manifest["wanted"]) == Wanted(format="masks", statistics=True)
    assert manifest["engine"]["options"]["device"] == "cpu"
    assert manifest["engine"]["options"]["threads"] == segmenter.setup.threads
    assert set(manifest["timings_s"]) >= {"read", "prepare", "windows", "postprocess", "statistics", "write"}


def test_it_names_every_file_with_its_hash(segmenter: Segmenter, scan_file: Path, tmp_path: Path) -> None:
    outcome = run(segmenter, scan_file, tmp_path / "out", wanted=Wanted(statistics=True))
    assert outcome.manifest is not None
    listed = {entry["file"]: entry for entry in outcome.manifest["outputs"]}
    assert sorted([*listed, "manifest.json"]) == sorted(os.listdir(tmp_path / "out"))
    for name, entry in listed.items():
        path = tmp_path / "out" / name
        assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (entry["bytes"], entry["mtime_ns"]) == (path.stat().st_size, path.stat().st_mtime_ns)


def test_where_it_goes(segmenter: Segmenter, scan_file: Path, tmp_path: Path) -> None:
    """In the folder; beside one of several label maps; where it is asked for; not unasked beside one file."""
    model, orders = Model.of(segmenter), Orders(REQUEST)
    alone = Job(scan_file, Place(tmp_path / "one" / "labels.nii.gz", False, with_manifest=False), format="label-map")
    (outcome,) = run_jobs(model, [alone], orders)
    assert outcome.manifest is not None
    assert os.listdir(tmp_path / "one") == ["labels.nii.gz"]
    (outcome,) = run_jobs(model, lay_out_jobs([scan_file], tmp_path / "maps", LABEL_MAP), orders)
    assert sorted(os.listdir(tmp_path / "maps")) == ["scan.nii.gz", "scan_manifest.json"]
    run(segmenter, scan_file, tmp_path / "out", wanted=Wanted(manifest=str(tmp_path / "runs" / "first.json")))
    assert sorted(os.listdir(tmp_path / "out")) == ["liver.nii.gz", "spleen.nii.gz"]
    assert json.loads((tmp_path / "runs" / "first.json").read_text())["classes"] == ["liver", "spleen"]
    run(segmenter, scan_file, tmp_path / "again", wanted=Wanted(manifest=str(tmp_path / "runs")))
    assert sorted(os.listdir(tmp_path / "runs")) == ["first.json", "scan.json"]


def test_one_file_for_the_manifests_of_several_scans_is_refused(segmenter: Segmenter, tmp_path: Path) -> None:
    jobs = lay_out_jobs([tmp_path / "a.nii", tmp_path / "b.nii"], tmp_path / "out")
    with pytest.raises(RequestError, match="cannot share the one file") as refused:
        next(run_jobs(Model.of(segmenter), jobs, Orders(REQUEST, Wanted(manifest="runs.json"))))
    assert refused.value.about == ("manifest",)


def test_a_second_request_in_the_same_folder_replaces_only_the_manifest(segmenter, scan_file, tmp_path) -> None:
    run(segmenter, scan_file, tmp_path / "out", Request(("liver",), overlap=0.0))
    run(segmenter, scan_file, tmp_path / "out", Request(("spleen",), overlap=0.0))
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["classes"] == ["spleen"]
    with pytest.raises(OutputError, match="exists already"):
        run(segmenter, scan_file, tmp_path / "out", Request(("liver",), overlap=0.0))


def test_files_elsewhere_appear_with_the_result_or_not_at_all(segmenter, scan_file, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "runs" / "scan.json").mkdir(parents=True)
    with pytest.raises(OutputError, match="a folder of that name"):
        run(segmenter, scan_file, tmp_path / "out", wanted=Wanted(manifest=str(tmp_path / "runs")))
    assert not (tmp_path / "out").exists()
