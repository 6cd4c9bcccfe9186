"""Batches killed, and run again: `python -m bench.batch_kills one workers watch --kills 100`.

Half of the kills come at random moments, half before and after calls that change a folder (rename, link, fsync, ...),
spread evenly over all of a run. With `--workers 2` they hit all of the run, one of its processes, or the one that began
it. After a kill nothing may be torn, and the next run must give the tree of an undisturbed one, but for times in
manifests. `--every` takes every call, however many kills that makes.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.batch_dying import BEGUN, COMPUTED, meet_fate
from bench.batch_trial import MODES, Trial
from bench.report import begin, finish

ORPHANS_S = 30.0


@dataclass
class Tally:
    """What was found. computed_twice, begun_twice: scans whose windows all ran, or began, before and after a kill.

    worst: scans computed twice for one kill. torn: files under a final name that are not those of the calm run, and
    sets that are partial without a marker. other: trees that are not those of the calm run after the next run.
    left: hidden files after it. survived: runs that ended before their moment came.
    """

    kills: int = 0
    survived: int = 0
    computed_twice: int = 0
    worst: int = 0
    begun_twice: int = 0
    torn: int = 0
    other: int = 0
    left: int = 0
    faults: list[str] = field(default_factory=list)


def kill(trial: Trial, tally: Tally, moment: int, variant: str) -> None:
    """A run that is killed, at a moment or (0) at random, and the one after it."""
    trial.prepare()
    fate = trial.fate("1", moment, variant)
    child = trial.start(fate)
    if moment == 0:
        trial.wait_for_work(child, Path(fate.log))
        time.sleep(random.uniform(0, trial.seconds))
        _send(child, variant, Path(f"{fate.log}.died"))
    os.waitpid(child, 0)
    _wait_for_orphans(child)
    died = Path(f"{fate.log}.died").exists()
    tally.kills += died
    tally.survived += not died
    where = f"{trial.mode} {variant} {moment}"
    torn = trial.torn()
    tally.faults += [f"{where}: {fault}" for fault in torn]
    tally.torn += len(torn)
    again = trial.run()
    first, second = (Counter(Path(log).read_text().splitlines()) for log in (fate.log, again))
    twice = {word: _twice(first, second, word) for word in (BEGUN, COMPUTED)}
    tally.begun_twice += twice[BEGUN]
    tally.computed_twice += twice[COMPUTED]
    tally.worst = max(tally.worst, twice[COMPUTED])
    differs = trial.differs()
    tally.faults += [f"{where}: {name} differs" for name in differs]
    tally.other += bool(differs)
    tally.left += trial.left


def _send(child: int, variant: str, died: Path) -> None:
    """Kill a run (all of it), the process that began it (first), or one that it started (worker), which it survives."""
    with suppress(OSError):  # it is over
        others = [int(pid) for pid in Path(f"/proc/{child}/task/{child}/children").read_text().split()]
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None and (others or variant != "worker"):
            died.touch()
            victim = others[-1] if variant == "worker" else child
            (os.killpg if variant == "all" else os.kill)(victim, signal.SIGKILL)


def _wait_for_orphans(group: int) -> None:
    """Wait until the processes that a killed one had started have noticed it."""
    deadline = time.monotonic() + ORPHANS_S
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.01)


def _twice(first: Counter[str], second: Counter[str], word: str) -> int:
    return sum(n - 1 for line, n in (first + second).items() if line.startswith(f"{word} "))


def main() -> None:
    options = arguments()
    report = begin("batch_kills", vars(options))
    random.seed(options.seed)
    for mode in options.modes:
        folder = Path(tempfile.mkdtemp(prefix="umlite-bench-"))  # a TemporaryDirectory would go with a forked process
        try:
            report[mode] = trials(folder, mode, options)
        finally:
            shutil.rmtree(folder)
        print(f"{mode}: {report[mode]}", flush=True)
    finish(report)
    sys.exit(any(report[mode][fault] for mode in options.modes for fault in ("torn", "other", "left")))


def trials(folder: Path, mode: str, options: argparse.Namespace) -> dict[str, Any]:
    """All kills of a mode."""
    trial = Trial(folder, mode, options.weights, options.scans, spawn=options.spawn)
    tally, start = Tally(), time.perf_counter()
    variants = ("all", "worker", "first") if mode == "workers" else ("all",)
    for number in range(options.kills // 2):
        kill(trial, tally, 0, variants[number % len(variants)])
    for number, moment in enumerate(moments(trial.counted, options.kills // 2, every=options.every)):
        kill(trial, tally, moment, ("all", "worker")[number % 2] if mode == "workers" else "all")
    return {**vars(tally), "moments": trial.counted, "seconds": round(time.perf_counter() - start, 1)}


def moments(count: int, kills: int, *, every: bool) -> list[int]:
    """Numbers of moments, evenly spread."""
    if every:
        return list(range(1, count + 1))
    return sorted({1 + round(at * (count - 1) / max(kills - 1, 1)) for at in range(kills)})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("modes", nargs="*", default=list(MODES), help=", ".join(MODES))
    parser.add_argument("--kills", type=int, default=100, help="of each mode, half of them at random")
    parser.add_argument("--every", action="store_true", help="before and after every call")
    parser.add_argument("--spawn", action="store_true", help="start processes as umlite does; else they are forked")
    parser.add_argument("--scans", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":
    meet_fate()
