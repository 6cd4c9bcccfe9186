"""Batches that are killed, refused their disk, or run twice at once: the next run makes the tree whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.batch_trial import make_scans, tree
from support import hostile

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def report(script: str, *arguments: object) -> dict:
    command = [sys.executable, "-m", f"bench.{script}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("mode", "computed_twice"), [("one", 1), ("watch", 1), ("workers", 2)])
def test_kills(small_weights: Path, mode: str, computed_twice: int) -> None:
    found = report("batch_kills", mode, "--kills", 8, "--scans", 3, "--weights", small_weights)[mode]
    assert found["kills"] > 4
    assert found["worst"] <= computed_twice


@pytest.mark.skipif(bool(hostile.why_not()), reason=hostile.why_not())
@pytest.mark.parametrize("mode", ["one", "watch"])
def test_refusals(small_weights: Path, mode: str) -> None:
    found = report("batch_refusals", mode, "--runs", 6, "--scans", 2, "--weights", small_weights)
    assert "1" in found[f"{mode}_read_only"]["codes"]
    assert "1" in found[f"{mode}_small_disk"]["codes"]


def test_two_batches_in_one_folder_at_once(small_weights: Path, tmp_path: Path) -> None:
    make_scans(tmp_path / "scans", 12)
    command = [sys.executable, "-m", "umlite", "segment", tmp_path / "scans", "-c", "liver", "--overlap", "0"]
    command += ["--weights", small_weights, "--device", "cpu", "--threads", "1", "-o"]
    runs = [subprocess.Popen([*map(str, command), tmp_path / "out"], stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    subprocess.run([*map(str, command), tmp_path / "calm"], stdout=subprocess.DEVNULL, check=True)
    assert tree(tmp_path / "out") == tree(tmp_path / "calm")
