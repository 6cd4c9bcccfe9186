"""The same content under several names: computed once, with every result as if it had been computed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest

from support.command_line import run
from support.samples import make_scan

BASE = ("segment", "-c", "liver,spleen", "--device", "cpu", "--overlap", "0", "--no-checks")


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Scans a and b; c and d with the content of a; e with that of b; f of a's size with content of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UMLITE_CACHE", str(tmp_path / "cache"))
    Path("scans").mkdir()
    for seed, name in enumerate("abf"):
        nib.save(make_scan((20, 18, 16), seed=seed), f"scans/{name}.nii")
    for name, other in (("c", "a"), ("d", "a"), ("e", "b")):
        shutil.copy(f"scans/{other}.nii", f"scans/{name}.nii")
    return tmp_path


@pytest.fixture
def base(small_weights: Path) -> tuple[Any, ...]:
    return (*BASE, "--weights", small_weights)


def segmented(*arguments: object, code: int = 0) -> dict[str, Any]:
    return json.loads(run(*arguments, "--json", code=code).stdout)


def files_of(folder: str) -> dict[str, bytes]:
    """Every file but manifests and reports, which hold times."""
    found = sorted(p for p in Path(folder).rglob("*") if p.is_file() and "manifest" not in p.name)
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def copies(data: dict[str, Any]) -> dict[str, str]:
    return {Path(s["scan"]).stem: Path(s["same_content_as"]).stem for s in data["scans"] if "same_content_as" in s}


@pytest.mark.parametrize(
    "products",
    [
        ("--statistics",),
        ("--label-map", "--color-table"),
        ("--format", "seg-nrrd"),
        ("--layout", "atlas"),
        ("--probabilities",),
    ],
    ids=lambda products: products[-1],
)
def test_copies_are_what_would_have_been_computed(base, products: tuple[str, ...]) -> None:
    data = segmented(*base, "scans", "-o", "once", "--dedupe", *products)
    assert copies(data) == {"c": "a", "d": "a", "e": "b"}
    assert (data["done"], data["copied"], data["skipped"], data["failed"]) == (6, 3, 0, 0)
    run(*base, "scans", "-o", "each", *products)
    assert files_of("once") == files_of("each")
    again = segmented(*base, "scans", "-o", "once", "--dedupe", "--verify-hashes", *products)
    assert (again["done"], again["skipped"]) == (0, 6)
    assert segmented(*base, "scans", "-o", "once", *products)["skipped"] == 6


def test_a_copy_says_so_and_can_be_reproduced(base) -> None:
    run(*base, "scans", "-o", "out", "--dedupe", "--statistics")
    manifest = json.loads(Path("out/c/manifest.json").read_text())
    assert manifest["input"]["path"] == str(Path("scans/c.nii").absolute())
    assert manifest["same_content_as"] == str(Path("scans/a.nii").absolute())
    shutil.rmtree("out/a")
    Path("scans/a.nii").unlink()
    assert "Reproduced." in run("reproduce", "out/c/manifest.json", "--weights", base[-1]).stdout


def test_a_stored_copy_can_be_exported(base) -> None:
    run(*base, "scans", "-o", "out", "--dedupe", "--format", "umlite")
    run("export", "out/c.umlite.nii.gz", "-o", "masks", "--scan", "scans/c.nii", "--statistics")
    run(*base, "scans/c.nii", "-o", "each")
    assert Path("masks/liver.nii.gz").read_bytes() == Path("each/liver.nii.gz").read_bytes()


def test_a_copy_is_made_of_a_result_of_an_earlier_run(base) -> None:
    run(*base, "scans/d.nii", "-o", "out/d")
    assert copies(segmented(*base, "scans", "-o", "out", "--dedupe")) == {"a": "d", "c": "d", "e": "b"}


@pytest.mark.parametrize(
    "how", [pytest.param(("--workers", "2"), marks=pytest.mark.slow), ("--shard", "1/1")], ids=["workers", "shard"]
)
def test_processes_and_shards(base, how: tuple[str, ...]) -> None:
    data = segmented(*base, "scans", "-o", "out", "--dedupe", *how)
    assert len(copies(data)) == 3
    assert data["done"] == 6


def test_other_requests_are_computed(base) -> None:
    rows = [("a", "liver"), ("c", "spleen"), ("d", "liver")]
    Path("jobs.csv").write_text("scan,classes\n" + "".join(f"scans/{n}.nii,{c}\n" for n, c in rows))
    assert copies(segmented(*base, "--jobs", "jobs.csv", "-o", "out", "--dedupe")) == {"d": "a"}


def test_reports_show_the_name_and_are_computed(base) -> None:
    assert copies(segmented(*base, "scans", "-o", "out", "--dedupe", "--report", "pages")) == {}


def test_a_twin_of_a_scan_that_fails_is_tried_itself(base) -> None:
    Path("out").mkdir()
    Path("out/a").write_text("in the way")
    data = segmented(*base, "scans", "-o", "out", "--dedupe", code=1)
    assert [Path(scan["scan"]).stem for scan in data["scans"] if "error" in scan] == ["a"]
    assert copies(data) == {"d": "c", "e": "b"}


def test_a_result_that_was_changed_is_no_source(base) -> None:
    run(*base, "scans/a.nii", "-o", "out/a")
    liver = Path("out/a/liver.nii.gz")
    time, right = liver.stat().st_mtime_ns, liver.read_bytes()
    liver.write_bytes(right[:-1] + b"?")
    os.utime(liver, ns=(time, time))
    data = segmented(*base, "scans/a.nii", "scans/c.nii", "-o", "out", "--dedupe")
    assert copies(data) == {}
    assert Path("out/c/liver.nii.gz").read_bytes() == right


def test_a_dry_run_counts_copies(base) -> None:
    plan = segmented(*base, "scans", "-o", "out", "--dedupe", "--dry-run")
    assert [plan[name] for name in ("scans", "skipped", "duplicates", "run")] == [6, 0, 3, 3]
    run(*base, "scans/a.nii", "-o", "out/a")
    shown = run(*base, "scans", "-o", "out", "--dedupe", "--dry-run").stdout
    assert "6 scans: 1 done before, 2 to run, 3 copies of others." in shown
