"""The command line under trouble: signals, errors of usage, one bad scan among good ones, odd names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import nibabel as nib
import pytest

from support import hostile
from support.command_line import run as invoke
from support.listing import results_in
from support.samples import make_scan
from umlite.cli import app, weights_app
from umlite.cost import measuring

COMMANDS = ("segment", "series", "plan", "verify", "bench", "eval", "demo", "classes", "info", "weights",
            "weights list", "weights convert", "weights pull")  # fmt: skip


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UMLITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(measuring, "SECONDS", 0.0)
    monkeypatch.setattr(measuring, "SIDE", 40)


# Usage


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_short_and_long_help(command: str) -> None:
    short = invoke(*command.split(), "-h").stdout
    assert "Usage:" in short
    assert short == invoke(*command.split(), "--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [("segment", "a.nii", "--bogus"), ("segment",), ("segment", "a.nii", "--threads", "x"), ("segement", "a.nii"),
     ("weights", "bogus"), ("plan", "a.nii", "b.nii")],
)  # fmt: skip
def test_errors_of_usage_are_one_json_object(arguments: tuple[str, ...]) -> None:
    result = invoke(*arguments, "--json", code=2)
    data = json.loads(result.stdout)
    assert data["exit_code"] == 2
    assert data["error"]
    assert f"Error: {data['error']}" in result.stderr
    assert invoke(*arguments, code=2).stdout == ""


# Requests


@pytest.mark.parametrize(
    "content",
    [
        b"liver\nspleen\n",
        b"liver\r\nspleen\r\n",
        b"\xef\xbb\xbfliver;spleen",
        "liver spleen".encode("utf-16"),
        b"liver, spleen,",
    ],
)
def test_classes_from_a_file(content: bytes, scan_file: Path, small_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes(content)
    base = ("segment", scan_file, "--weights", small_weights, "-o", "out", "--kernels", "torch", "--overlap", "0")
    invoke(*base, "-c", "@classes.txt")
    assert results_in("out") == ["liver.nii.gz", "spleen.nii.gz"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b"x" * 2_000_000, "folder"])
def test_bad_files_of_classes(content: bytes | str | None, small_weights: Path, tmp_path: Path) -> None:
    if content == "folder":
        (tmp_path / "classes.txt").mkdir()
    elif isinstance(content, bytes):
        (tmp_path / "classes.txt").write_bytes(content)
    result = invoke("segment", "a.nii", "--weights", small_weights, "-c", "@classes.txt", code=2)
    assert "Cannot read classes from classes.txt" in result.stderr
    assert "(--classes)" in result.stderr


def test_a_class_that_was_taken_for_a_scan(scan_file: Path, small_weights: Path) -> None:
    base = ("segment", scan_file, "--weights", small_weights, "-o", "out")
    for given in (("-c", "liver", "spleen"), ("spleen", "-c", "liver")):
        result = invoke(*base, *given, code=2)
        assert "Join classes with commas: liver,spleen." in result.stderr
    assert not Path("out").exists()


def test_paths_in_the_home_folder(
    scan_file: Path, small_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `--output=~/masks`, which no shell expands."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    for file in (scan_file, small_weights):
        shutil.copy(file, tmp_path / "home")
    (tmp_path / "home" / "classes.txt").write_text("liver")
    base = ("segment", f"~/{scan_file.name}", f"--weights=~/{small_weights.name}", "-c@~/classes.txt")
    invoke(*base, "--output=~/masks", "--jsonl=~/lines.jsonl")
    assert (tmp_path / "home" / "lines.jsonl").exists()
    assert results_in(tmp_path / "home" / "masks") == ["liver.nii.gz"]
    invoke("eval", "~/masks", "~/masks", "-o", "~/evaluation")
    assert (tmp_path / "home" / "evaluation" / "cases.csv").exists()
    assert set(os.listdir()) <= {"home", "cache"}


def test_every_path_may_begin_with_a_tilde() -> None:
    commands = [command.callback for command in (*app.registered_commands, *weights_app.registered_commands)]
    hints = [hint for command in commands for hint in get_type_hints(command, include_extras=True).values()]
    paths = [get_args(hint) for hint in hints if get_origin(hint) is Annotated and "Path" in str(get_args(hint)[0])]
    assert len(paths) >= 10
    assert [info.help for _, info in paths if info.callback is None and info.parser is None] == []


@pytest.mark.parametrize(
    "command",
    [("segment", "a.nii"), ("eval", "a.nii", "a.nii"), ("demo",), ("weights", "convert", "a.pth")],
    ids=lambda command: command[0],
)
def test_an_output_in_the_home_of_nobody(command: tuple[str, ...]) -> None:
    data = json.loads(invoke(*command, "-o", "~no-such-user/x.nii.gz", "--json", code=2).stdout)
    assert "~no-such-user is not a user's home folder. Write out the whole path." in data["error"]
    assert not os.listdir()


@pytest.mark.parametrize("command", ["compare", "eval", "reproduce", "watch"])
@pytest.mark.parametrize(("output", "says"), [("", "The output is empty"), ("x.html", "x.html is the name of a file")])
def test_an_output_that_is_no_folder(command: str, output: str, says: str) -> None:
    scans = ("a.nii", "b.nii")[: 2 if command in ("compare", "eval") else 1]
    assert f"{says}: expected a folder" in invoke(command, *scans, "-o", output, code=2).stderr
    assert not os.listdir()


def test_a_scan_in_the_home_of_nobody(scan_file: Path, small_weights: Path) -> None:
    base = ("--weights", small_weights, "-c", "liver", "-o", "out")
    result = invoke("segment", "~no-such-user/a.nii", scan_file, *base, code=1)
    assert "~no-such-user/a.nii does not exist" in result.stderr
    assert sorted(os.listdir("out")) == ["failed.jsonl", "scan"]


def test_a_geometry_is_forced(small_weights: Path, tmp_path: Path) -> None:
    nib.save(make_scan((40, 36, 30), spacing=0.5), tmp_path / "tiny.nii.gz")
    base = ("--weights", small_weights, "-c", "liver")
    commands = {
        "segment": ("-o", "out"),
        "plan": (),
        "verify": ("--sample", "1"),
        "bench": ("--repeats", "1"),
    }
    for command in ((name, "tiny.nii.gz", *options, *base) for name, options in commands.items()):
        assert "(--force-geometry)" in invoke(*command, code=2).stderr
        assert not Path("out").exists()
        invoke(*command, "--force-geometry")
        shutil.rmtree("out", ignore_errors=True)
    result = invoke("segment", "tiny.nii.gz", "-o", "out", *base, "--force-geometry")
    assert "Warning: tiny.nii.gz" in result.stderr
    assert results_in("out") == ["liver.nii.gz"]


# One scan's trouble stays with that scan


def test_a_dry_run_goes_on_after_a_bad_scan(scan_file: Path, small_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "text.nii").write_text("no scan")
    shutil.copy(scan_file, tmp_path / "b.nii.gz")
    base = ("segment", "text.nii", scan_file, "absent.nii", "b.nii.gz", "--weights", small_weights, "-c", "liver")
    plan = json.loads(invoke(*base, "--dry-run", "--json", code=1).stdout)
    assert [plan[name] for name in ("scans", "unreadable", "run")] == [4, 2, 2]
    assert "2 to run, 2 will fail" in invoke(*base, "--dry-run", code=1).stdout


@pytest.mark.skipif(bool(hostile.why_not()), reason=hostile.why_not())
def test_an_unreadable_scan_among_good_ones(small_weights: Path, tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        nib.save(make_scan((12, 12, 12)), tmp_path / name)
    (tmp_path / "a.nii.gz").chmod(0)
    shutil.copy(small_weights, tmp_path / "small.safetensors")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o777)
    arguments = ["-m", "umlite", "segment", "a.nii.gz", "b.nii.gz", "-c", "liver", "--json", "-o", "out",
                 "--weights", "small.safetensors", "--kernels", "torch"]  # fmt: skip
    done = hostile.run(arguments, user=hostile.NOBODY, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    first, second = json.loads(done.stdout)["scans"]
    assert "ermission" in first["error"]
    assert second["files"] == ["out/b/liver.nii.gz"]
    assert "Traceback" not in done.stderr


def test_links_to_one_file_are_two_scans(scan_file: Path, small_weights: Path, tmp_path: Path) -> None:
    """As datalad and git-annex keep files: the name given tells scans apart."""
    (tmp_path / "in").mkdir()
    shutil.copy(scan_file, tmp_path / "content")
    for name in ("sub-01.nii.gz", "sub-02.nii.gz"):
        (tmp_path / "in" / name).symlink_to("../content")
    base = ("--weights", small_weights, "-c", "liver", "-o", "out", "--json")
    scans = json.loads(invoke("segment", "in/sub-01.nii.gz", "in/sub-02.nii.gz", *base).stdout)["scans"]
    assert [entry["scan"] for entry in scans] == ["in/sub-01.nii.gz", "in/sub-02.nii.gz"]
    assert sorted(os.listdir("out")) == ["sub-01", "sub-02"]


def test_without_a_compiler_it_says_why_once(
    scan_file: Path, small_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from umlite.cpu import libraries

    monkeypatch.setenv("CC", str(tmp_path / "no-such-compiler"))
    for state in ("_loaded", "_failed", "_built"):
        monkeypatch.setattr(libraries, state, {})
    base = ("segment", scan_file, "--weights", small_weights, "-c", "liver", "-o", "out")
    assert invoke(*base).stderr.count("slower than on compiled kernels: CC is set to") == 1


def test_nothing_in_a_name_forges_a_line(small_weights: Path) -> None:
    name = "a\nError: b\x1b]31m.nii"
    result = invoke("segment", name, "also\nbad.nii", "--weights", small_weights, "-c", "liver", "-o", "out", code=1)
    assert "\x1b" not in result.output
    assert [line[:6] for line in result.stderr.splitlines() if line.startswith("Error")] == ["Error:"] * 2


# Signals


START = """
import os, signal, sys, threading
{ignore}
import umlite.__main__ as command
real = os._exit
def late(code):
    {last}
    real(code)
os._exit = late
sys.argv = ["umlite", "--version"]
command.main()
"""


def started(ignore: str = "", last: str = "pass") -> subprocess.CompletedProcess[str]:
    code = START.format(ignore=ignore, last=last)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["SIGHUP", "SIGTERM"])
def test_signals_that_were_ignored_stay_ignored(name: str) -> None:
    done = started(
        f"signal.signal(signal.{name}, signal.SIG_IGN)",
        f"assert signal.getsignal(signal.{name}) is signal.SIG_IGN; os.kill(os.getpid(), signal.{name})",
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_signal_after_the_last_line(name: str, code: int) -> None:
    """Python's own end restores what signals do, which would kill the process without a code of ours."""
    hit = f"atexit.register(lambda: os.kill(os.getpid(), signal.{name}))"
    done = started(f"import atexit; {hit}")
    assert done.returncode == code, done.stderr
    assert done.stdout.startswith("umlite ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_closed_streams(closed: str) -> None:
    code = f"import os, sys; os.close({1 if closed == 'stdout' else 2}); os.execv(sys.executable, sys.argv[1:])"
    command = [sys.executable, "-c", code, sys.executable, "-m", "umlite", "classes"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["classes"], ["classes", "--json"], ["segment", "absent.nii", "--bogus"]])
def test_a_full_disk_under_the_log(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "umlite", *arguments], stdout=full, stderr=full, check=False)
    assert done.returncode == 2  # the output is lost, which a script should know


def test_sigint_is_left_as_python_found_it() -> None:
    done = started("signal.signal(signal.SIGINT, signal.SIG_IGN)", "os.kill(os.getpid(), signal.SIGINT)")
    assert done.returncode == 0, done.stderr
