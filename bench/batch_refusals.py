"""Batches whose folder of results refuses changes: `python -m bench.batch_refusals --weights small.safetensors`.

Parts: read_only (from each call on that changes the folder, it is read-only), small_disk (the folder is a tmpfs of 4
kB, 8 kB, and so on; as root). Every run must end with a documented exit code and no traceback, and leave nothing torn;
the next run, which nothing refuses, must give the tree of an undisturbed one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.batch_dying import meet_fate
from bench.batch_kills import moments
from bench.batch_trial import MODES, Trial
from bench.report import begin, finish

CODES = (0, 1, 2)
ROOMY = "size=64m"


@dataclass
class Tally:
    """What was found. wrong: runs that ended otherwise than documented. torn, other, left: see `bench.batch_kills`."""

    runs: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    torn: int = 0
    other: int = 0
    left: int = 0
    faults: list[str] = field(default_factory=list)

    def judge(self, trial: Trial, name: str, moment: int) -> None:
        """Run, and look at how it ended and at what is there."""
        fate = trial.fate("1", moment, "all")
        status = os.waitstatus_to_exitcode(os.waitpid(trial.start(fate), 0)[1])
        said = Path(f"{fate.log}.said").read_text()
        self.runs += 1
        self.codes[status] += 1
        faults = [] if status in CODES and "Traceback" not in said else [f"exit code {status}: {said[-500:]}"]
        self.wrong += len(faults)
        torn = trial.torn()
        self.torn += len(torn)
        self.faults += [f"{name}: {fault}" for fault in faults + torn]

    def judge_next(self, trial: Trial, name: str) -> None:
        """Run again, with nothing refused."""
        trial.run()
        differs = trial.differs()
        self.other += bool(differs)
        self.left += trial.left
        self.faults += [f"{name}: {file} differs" for file in differs]


def main() -> None:
    options = arguments()
    report = begin("batch_refusals", vars(options))
    for mode in options.modes:
        for part in PARTS:
            folder = Path(tempfile.mkdtemp(prefix="umlite-bench-"))
            try:
                report[f"{mode}_{part.__name__}"] = found = vars(part(folder, mode, options))
            finally:
                shutil.rmtree(folder)
            print(f"{mode}, {part.__name__}: {found}", flush=True)
    finish(report)
    sys.exit(any(value[fault] for value in report.values() if isinstance(value, dict) and "torn" in value
                 for fault in ("wrong", "torn", "other", "left")))  # fmt: skip


def read_only(folder: Path, mode: str, options: argparse.Namespace) -> Tally:
    """The folder refuses every change from a moment on."""
    trial, tally = Trial(folder, mode, options.weights, options.scans, refuses=True), Tally()
    for moment in moments(trial.counted, options.runs, every=False):
        trial.prepare()
        tally.judge(trial, f"{mode} {moment}", moment)
        tally.judge_next(trial, f"{mode} {moment}")
    return tally


def small_disk(folder: Path, mode: str, options: argparse.Namespace) -> Tally:
    """The folder is a small disk, which then grows."""
    trial, tally = Trial(folder, mode, options.weights, options.scans, refuses=True), Tally()
    for number in range(1, options.runs + 1):
        size = 4 * max(1, round(number * options.most_kb / 4 / options.runs))
        out = trial.folder / "out"
        trial.prepare()
        out.mkdir()
        mount("-t", "tmpfs", "-o", f"size={size}k", "none", out)
        try:
            tally.judge(trial, f"{mode} {size} kB", 0)
            mount("-o", f"remount,{ROOMY}", out)
            tally.judge_next(trial, f"{mode} {size} kB")
        finally:
            subprocess.run(["umount", out], check=True)
    return tally


def mount(*arguments: Any) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


PARTS = (read_only, small_disk)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("modes", nargs="*", default=list(MODES), help=", ".join(MODES))
    parser.add_argument("--runs", type=int, default=40, help="of each mode and part")
    parser.add_argument("--scans", type=int, default=3)
    parser.add_argument("--most-kb", type=int, default=120, help="the largest small disk")
    parser.add_argument("--weights", required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":
    meet_fate()
