"""A folder is watched: what is complete is segmented once, what is bad is put aside."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel as nib
import pytest

from support.command_line import run
from support.dicom import phantom_hu, write_series
from support.samples import make_scan
from umlite.batch import inbox as inbox_module
from umlite.batch.inbox import Inbox, InboxOptions
from umlite.batch.jobs import Job
from umlite.batch.told import Told
from umlite.errors import InputError, OutputError
from umlite.products.place import Place


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UMLITE_CACHE", str(tmp_path / "cache"))
    Path("inbox/deep").mkdir(parents=True)
    nib.save(make_scan((20, 18, 16)), "inbox/a.nii.gz")
    nib.save(make_scan((20, 18, 16), seed=1), "inbox/deep/b.nii")
    Path("inbox/bad.nii").write_text("no scan")
    Path("inbox/notes.txt").write_text("no scan either")


@pytest.fixture
def arguments(small_weights: Path) -> list[str]:
    options = ["-c", "liver", "--weights", str(small_weights), "--device", "cpu", "--overlap", "0", "--no-checks"]
    return ["watch", "inbox", "-o", "out", *options, "--still", "0", "--every", "0.1", "--once", "--attempts", "2"]


def test_scans_are_segmented_once_and_bad_ones_put_aside(arguments: list[str]) -> None:
    result = run(*arguments, "--jsonl", "log.jsonl", code=1)
    assert sorted(str(p) for p in Path("out").rglob("liver.nii.gz")) == [
        "out/a/liver.nii.gz",
        "out/deep/b/liver.nii.gz",
    ]
    assert "failed 2 times and was moved to out/quarantine/bad.nii" in result.stderr
    assert json.loads(Path("out/quarantine/bad.nii.error.json").read_text())["code"] == "input"
    assert Path("inbox/notes.txt").exists()
    status = [json.loads(line)["status"] for line in Path("log.jsonl").read_text().splitlines()]
    assert sorted(status) == ["done", "done", "input", "input"]
    run(*arguments, "--jsonl", "log.jsonl")  # as after a restart
    status = [json.loads(line)["status"] for line in Path("log.jsonl").read_text().splitlines()]
    assert status == ["skipped", "skipped"]


def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(inbox_module.time, "monotonic", lambda: now[0])
    return now


def test_only_what_is_still_counts_as_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock(monkeypatch)
    inbox = Inbox(InboxOptions(Path("inbox"), Path("out"), Path("out/quarantine"), still_s=10))
    assert inbox.ready() == []
    now[0] = 9
    with open("inbox/a.nii.gz", "ab") as file:
        file.write(b"more")
    assert inbox.ready() == []
    now[0] = 12
    assert inbox.ready() == [Path("inbox/bad.nii"), Path("inbox/deep/b.nii")]
    now[0] = 19
    assert Path("inbox/a.nii.gz") in inbox.ready()
    for path in inbox.ready():
        inbox.settle(path, [])
    assert inbox.ready() == []
    assert not inbox.is_waiting
    os.utime("inbox/a.nii.gz", ns=(7, 7))
    inbox.ready()
    now[0] = 40
    assert inbox.ready() == [Path("inbox/a.nii.gz")]


def test_a_full_disk_is_not_the_scans_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock(monkeypatch)
    inbox = Inbox(InboxOptions(Path("inbox"), Path("out"), Path("q"), still_s=1, attempts=2))
    inbox.ready()
    path, job = Path("inbox/bad.nii"), Job(Path("inbox/bad.nii"), Place(Path("out/bad")))
    for error in [OutputError("The disk is full.")] * 5 + [InputError("It is no scan.")]:
        now[0] += 1000
        assert path in inbox.ready()
        moved = inbox.settle(path, [Told(job, error=error)])
        assert path not in inbox.ready()
        assert bool(moved) == isinstance(error, InputError)
    Path("inbox/bad.nii").write_text("again")
    inbox.ready()
    inbox.settle(path, [Told(job, error=InputError("bad"))])
    assert "bad.nii_again" in inbox.settle(path, [Told(job, error=InputError("bad"))])


@pytest.mark.parametrize("error", [errno.EXDEV, errno.EIO])
def test_a_bad_scan_is_moved_whole_or_stays(monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """To another disk as a copy that gets its name when it is whole. Its report is there before it."""
    Path("inbox/study").mkdir()
    shutil.copy("inbox/a.nii.gz", "inbox/study/IM1")
    rename = os.rename

    def refuse(source: Path, target: Path) -> None:
        if "inbox" in Path(source).parts:
            assert Path(f"{target}.error.json").exists()
            raise OSError(error, os.strerror(error), source)
        rename(source, target)

    inbox = Inbox(InboxOptions(Path("inbox"), Path("out"), Path("q"), still_s=0, attempts=1))
    inbox.ready()
    monkeypatch.setattr(os, "rename", refuse)
    for name in ("bad.nii", "study"):
        path = Path("inbox", name)
        inbox._units.setdefault(path, inbox_module._Unit((1, 1, 1), 0.0))
        failed = [Told(Job(path, Place(Path("out/bad"))), error=InputError("bad"))]
        if error == errno.EXDEV:
            assert f"moved to q/{name}" in inbox.settle(path, failed)
        else:
            with pytest.raises(OutputError, match="reports an error"):
                inbox.settle(path, failed)
        assert path.exists() == (error != errno.EXDEV)
        assert Path("q", name).exists() == (error == errno.EXDEV)
    assert not list(Path("q").glob(".umlite-*"))


def test_series_come_in_folders_and_archives(arguments: list[str]) -> None:
    for name in ("inbox/deep/b.nii", "inbox/a.nii.gz", "inbox/bad.nii"):
        Path(name).unlink()
    write_series(Path("inbox/study"), phantom_hu())
    write_series(Path("other"), phantom_hu(seed=1))
    with zipfile.ZipFile("inbox/packed.zip", "w") as archive:
        for path in Path("other").rglob("*"):
            archive.write(path)
    run(*arguments)
    assert sorted(p.parent.name for p in Path("out").rglob("liver.nii.gz")) == ["packed", "study"]


def test_a_folder_that_is_not_there(arguments: list[str]) -> None:
    arguments[1] = "absent"
    assert "Expected a folder to watch, found nothing" in run(*arguments, code=2).stderr


def test_it_ends_when_it_is_asked_to(arguments: list[str]) -> None:
    arguments.remove("--once")
    process = subprocess.Popen(
        [sys.executable, "-m", "umlite", *arguments, "--jsonl", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    while b'"done"' not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 143
    assert not list(Path("out").rglob(".umlite-*"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("-o", "inbox"), "name another folder"),
        (("-o", "out.nii.gz"), "expected a folder"),
        (("--report", "one.html"), "cannot share the one file one.html"),
    ],
)
def test_places_that_hold_one_scan_or_the_inbox_itself(
    arguments: list[str], options: tuple[str, ...], says: str
) -> None:
    assert says in run(*arguments, *options, code=2).stderr
    assert sorted(os.listdir()) == ["cache", "inbox"] or os.listdir() == ["inbox"]
