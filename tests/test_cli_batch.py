"""Many scans on the command line: trees, lists of jobs, what is said on the way, what failed."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import pytest

from support.command_line import run
from support.dicom import Shot, phantom_hu, write_series
from support.samples import make_scan
from umlite.commands.options import IMPLIED
from umlite.request import Request


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two scans and a bad one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UMLITE_CACHE", str(tmp_path / "cache"))
    Path("scans/deep").mkdir(parents=True)
    nib.save(make_scan((20, 18, 16)), "scans/a.nii.gz")
    nib.save(make_scan((20, 18, 16), seed=1), "scans/deep/b.nii")
    Path("scans/bad.nii").write_text("no scan")
    return tmp_path


@pytest.fixture
def base(small_weights: Path) -> tuple[object, ...]:
    options = ("--weights", small_weights, "--device", "cpu", "--overlap", "0", "--no-checks")
    return ("segment", "-c", "liver", *options)


def lines(path: str) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_a_folder_with_a_bad_scan(base) -> None:
    result = run(*base, "scans", "-o", "out", "--jsonl", "log.jsonl", code=1)
    assert "2 of 3 scans segmented, 1 failed" in result.stdout
    assert Path("out/deep/b/liver.nii.gz").exists()
    assert [(line["status"], "manifest" in line) for line in lines("log.jsonl")] == [
        ("done", False),
        ("input", False),
        ("done", False),
    ]
    (failed,) = lines("out/failed.jsonl")
    assert failed["code"] == "input"
    assert failed["classes"] == ["liver"]
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.nii.gz")}
    again = run(*base, "scans", "-o", "out", code=1)
    assert "0 of 3 scans segmented, 2 done before, 1 failed" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.nii.gz")} == before


def test_the_list_of_failed_scans_is_fed_back(base) -> None:
    run(*base, "scans", "-o", "out", code=1)
    shutil.copy("scans/a.nii.gz", "scans/bad.nii")
    result = run("segment", "-c", "spleen", *base[3:], "--jobs", "out/failed.jsonl", "--json")
    (scan,) = json.loads(result.stdout)["scans"]
    assert scan["files"] == [str(Path("out/bad/liver.nii.gz").absolute())]
    run(*base, "scans", "-o", "out")
    assert not Path("out/failed.jsonl").exists()


def test_jobs_with_requests_and_places_of_their_own(base) -> None:
    Path("jobs.csv").write_text(
        "scan,classes,output\nscans/a.nii.gz,,\nscans/deep/b.nii,spleen,x/b.nii.gz\nscans/deep,aorta,y\n"
    )
    run(*base, "--jobs", "jobs.csv", "-o", "out")
    assert Path("out/liver.nii.gz").exists()
    assert Path("x/b.nii.gz").exists()
    assert Path("y/b/aorta.nii.gz").exists()
    assert "0 of 3 scans segmented, 3 done before" in run(*base, "--jobs", "jobs.csv", "-o", "out").stdout


def test_two_jobs_with_one_place_are_refused(base) -> None:
    Path("jobs.jsonl").write_text('{"scan": "scans/a.nii.gz", "output": "x"}\n' * 2)
    assert "would both be written to x" in run(*base, "--jobs", "jobs.jsonl", code=2).stderr
    assert not Path("x").exists()


def test_standard_input_and_lines_on_standard_output(base) -> None:
    result = run(*base, "-", "-o", "out", "--jsonl", "-", stdin="scans/a.nii.gz\nscans/deep/b.nii\n")
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [Path(line["files"][0]).parent.name for line in told] == ["a", "b"]


def test_nothing_to_segment(base) -> None:
    Path("empty").mkdir()
    assert "name a scan" in run(*base, code=2).stderr
    assert "holds no" in run(*base, "empty", code=2).stderr
    assert "name a scan" in run(*base, "-", code=2, stdin="\n").stderr


def test_json_of_a_large_batch_holds_what_is_needed(base, monkeypatch) -> None:
    monkeypatch.setattr("umlite.commands.tally.MOST_ENTRIES", 1)
    data = json.loads(run(*base, "scans", "-o", "out", "--json", code=1).stdout)
    assert ["error" in scan for scan in data["scans"]] == [False, True]
    assert (data["left_out"], data["done"], data["failed"]) == (1, 2, 1)


def test_a_dry_run_says_what_would_run_and_for_how_long(base) -> None:
    plan = json.loads(run(*base, "scans", "-o", "out", "--dry-run", "--json", code=1).stdout)
    assert [plan[name] for name in ("scans", "skipped", "unreadable", "run", "sampled")] == [3, 0, 1, 2, 2]
    assert plan["seconds"] > plan["window_seconds"] > 0
    assert not Path("out").exists()
    run(*base, "scans/a.nii.gz", "scans/deep", "-o", "out")  # a has the same place as in the tree
    shown = run(*base, "scans", "-o", "out", "--dry-run", code=1)
    assert "3 scans: 1 done before, 1 to run, 1 will fail." in shown.stdout
    assert "Error: scans/bad.nii is a text file" in shown.stderr
    Path("jobs.csv").write_text("scan,classes\nscans/a.nii.gz,live\n")
    plan = json.loads(run(*base, "--jobs", "jobs.csv", "scans", "-o", "new", "--dry-run", "--json", code=1).stdout)
    assert sorted((scan["scan"], scan["code"]) for scan in plan["bad"]) == [
        ("scans/a.nii.gz", "request"),
        ("scans/bad.nii", "input"),
    ]


def test_shards_and_processes(base) -> None:
    Path("scans/bad.nii").unlink()
    for part in ("1/2", "2/2"):
        run(*base, "scans", "-o", "out", "--shard", part)
    assert sorted(str(p) for p in Path("out").rglob("liver*")) == ["out/a/liver.nii.gz", "out/deep/b/liver.nii.gz"]
    assert "2 done before" in run(*base, "scans", "-o", "out", "--workers", "2").stdout
    assert "such as 2/8" in run(*base, "scans", "-o", "out", "--shard", "3/2", code=2).stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--preview", "x.gif"), "expected a file that ends in .png, or a folder. (--preview)"),
        (("--report", "x.pdf"), "expected a file that ends in .html, or a folder. (--report)"),
        (("--report", "scans/a.nii.gz"), "expected a file that ends in .html, or a folder. (--report)"),
        (("--manifest", "x.txt"), "expected a file that ends in .json, or a folder. (--manifest)"),
        (("--manifest", "notes"), "expected a file that ends in .json, or a folder. (--manifest)"),
        (("--jsonl", "-", "--json"), "cannot share stdout"),
        (("--jsonl", ""), "Cannot write JSON lines to ''"),
        (("--jsonl", "scans"), "Cannot write JSON lines to 'scans'"),
        (("--jsonl", "scans/a.nii.gz"), "holds no JSON lines"),
        (("--label-map", "--format", "masks"), "choose one of them. (--label-map, --format)"),
        (("--series", ""), "No series was named"),
        (("--series", "1"), "No scan is DICOM"),
        (("--fill-gaps",), "No scan is DICOM"),
        (("--jobs", "scans/a.nii.gz"), "it is no text"),
    ],
)
def test_options_that_make_no_sense(base, options: tuple[str, ...], says: str) -> None:
    Path("notes").write_text("of a user")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file() and "cache" not in path.parts}
    assert says in run(*base, "scans/a.nii.gz", "-o", "out", *options, code=2).stderr
    after = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file() and "cache" not in path.parts}
    assert after == before


def test_the_list_of_failed_scans_stays_until_none_is_left(base) -> None:
    run(*base, "scans", "-o", "out", code=1)
    run(*base, "--jobs", "out/failed.jsonl", "-o", "out", code=2)
    assert len(lines("out/failed.jsonl")) == 1
    shutil.copy("scans/a.nii.gz", "scans/bad.nii")
    run(*base, "--jobs", "out/failed.jsonl", "-o", "out")
    assert not Path("out/failed.jsonl").exists()


def test_a_list_of_failed_scans_keeps_all_that_was_asked(base) -> None:
    """Every field of a request with another value than its default, DICOM's choices, place and format."""
    changed: dict[str, object] = {
        "classes": ["liver", "spleen"],
        "overlap": 0.25,
        "windows": "adaptive",
        "probabilities": True,
        "force_geometry": True,
    }
    assert changed.keys() | set(IMPLIED) == {field.name for field in dataclasses.fields(Request)}
    default = Request().to_dict()
    assert all(default[name] != value for name, value in changed.items())
    write_series(Path("dicom"), phantom_hu())
    Path("out/dicom.nii.gz").mkdir(parents=True)  # in the way of the result
    flags = ("-c", "liver,spleen", "--overlap", "0.25", "--windows", "adaptive", "--probabilities", "--force-geometry")
    dicom = ("--fill-gaps", "--format", "label-map")
    run("segment", *base[3:5], "scans/bad.nii", "dicom", "-o", "out", *flags, *dicom, code=1)
    asked = {line["scan"]: line for line in lines("out/failed.jsonl")}
    assert asked.keys() == {str(Path(name).absolute()) for name in ("scans/bad.nii", "dicom")}
    for line in asked.values():
        assert {field: line[field] for field in changed} == changed
        assert (line["fill_gaps"], line["format"]) == (True, "label-map")
    assert asked[str(Path("dicom").absolute())]["series"] == Shot().series
    run("segment", *base[3:5], "--jobs", "out/failed.jsonl", "-o", "out", code=1)
    again = {line["scan"]: line for line in lines("out/failed.jsonl")}
    assert [one | {"error": ""} for one in again.values()] == [one | {"error": ""} for one in asked.values()]


def test_a_format_without_a_place_is_refused(base) -> None:
    Path("jobs.csv").write_text("scan,format\nscans/a.nii.gz,label-map\n")
    assert "name its output" in run(*base, "--jobs", "jobs.csv", "-o", "out", code=2).stderr


@pytest.mark.slow
def test_json_of_several_processes_names_the_device(base) -> None:
    automatic = [word if word != "cpu" else "auto" for word in base]
    made = json.loads(run(*automatic, "scans", "-o", "out", "--workers", "1", "--json", code=1).stdout)
    assert made["device"] in ("cpu", "cuda:0")


def test_processes_need_no_streams(base) -> None:
    """Files that are opened later would take the numbers of closed streams, and fail to reach a new process."""
    command = [sys.executable, "-m", "umlite", *map(str, base), "scans/deep", "scans/a.nii.gz", "-o", "out"]
    closed = subprocess.run(["sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh", *command, "--workers", "1"], check=False)
    assert closed.returncode == 0
    assert Path("out/b/liver.nii.gz").exists()
