"""What a run of several scans shows on a terminal while it goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import pytest

if os.name != "posix":
    pytest.skip("needs pseudo-terminals", allow_module_level=True)

from support.samples import make_scan
from support.screen import Terminal
from umlite import terminal as lines_of_terminal
from umlite.commands.live import Live
from umlite.commands.tally import Tally
from umlite.request import Request


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(lines_of_terminal.time, "monotonic", lambda: now[0])
    return now


def test_counts_pace_and_time_left(now: list[float]) -> None:
    tally = Tally(12, Request(), silent=False, keep=False, jsonl=None, failed=None)
    live = Live(tally)
    assert live.lines(79) == ["0 of 12 scans segmented"]
    tally.skipped = 2
    progress = live.progress_of("a.nii")
    progress(0, 10)
    now[0] += 60
    progress(2, 10)
    bar = "[####................] 2 of 10 windows, about 4 min left  a.nii"
    assert live.lines(79) == ["0 of 12 scans segmented, 2 done before", bar]  # too early for a prediction
    now[0] += 540
    tally.done, tally.copied, tally.failed = 4, 1, 1
    live.progress_of("b.nii")(0, 10)
    assert live.lines(120) == [
        "4 of 12 scans segmented, 1 of them as copies, 2 done before, 1 failed, 24 an hour, about 12 min left",
        "[....................] 0 of 10 windows, 0 s  b.nii",
    ]
    assert live.lines(60)[:2] == [
        "4 of 12 scans segmented, 1 of them as copies, 2 done before,",
        "1 failed, 24 an hour, about 12 min left",
    ]
    tally.done = 9
    assert "left" not in live.lines(120)[0]


def test_a_line_for_each_process(now: list[float]) -> None:
    live = Live(Tally(4, Request(), silent=False, keep=False, jsonl=None, failed=None))
    live.at_work(1, "loading the network", 0, 0)
    live.at_work(2, "loading the network", 0, 0)
    now[0] += 5
    live.at_work(2, "ct.nii", 1, 4)
    now[0] += 6
    live.at_work(2, "ct.nii", 3, 4)
    assert live.lines(79)[1:] == [
        "1  11 s  loading the network",
        "2  [###############.....] 3 of 4 windows, about 2 s left  ct.nii",
    ]
    live.at_work(2, "ct.nii", 1, 4)  # another scan of that name
    assert live.lines(79)[-1] == "2  [#####...............] 1 of 4 windows, 0 s  ct.nii"


@pytest.mark.parametrize("workers", [(), pytest.param(("--workers", "1"), marks=pytest.mark.slow)])
def test_a_run_on_a_terminal(small_weights: Path, tmp_path: Path, workers: tuple[str, ...]) -> None:
    for seed, name in enumerate("ab"):
        nib.save(make_scan((20, 18, 16), seed=seed), tmp_path / f"{name}.nii")
    words = ["segment", "a.nii", "b.nii", "-c", "liver", "-o", "out", "--no-checks", "--overlap", "0", *workers]
    terminal = Terminal()
    environment = {**os.environ, "TERM": "xterm", "CI": ""}
    process = subprocess.Popen(
        [sys.executable, "-m", "umlite", *words, "--weights", str(small_weights), "--device", "cpu"],
        cwd=tmp_path,
        env=environment,
        stdout=terminal.file,
        stderr=terminal.file,
    )
    terminal.read_until("2 of 2 scans segmented,")
    assert process.wait() == 0
    lines = [line.strip() for line in terminal.screen()]
    assert sum("Written to" in line for line in lines) == 2
    assert lines[-1].startswith("2 of 2 scans segmented,")
    assert lines[-1].endswith("an hour.")
    assert "0 of 2 scans segmented" in terminal.written
    assert not any(line.startswith("[") or "0 of 2" in line for line in lines)
    assert ("loading the network" in terminal.written) is bool(workers)
