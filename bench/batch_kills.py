"""Batches killed, and run again: `python -m bench.batch_kills one workers watch --kills 100`.

Half of the kills come at random moments, half before and after calls that change a folder (rename, link, fsync, ...),
spread evenly over all of a run. With `--workers 2` they hit all of the run, one of its processes, or the one that began
it. After a kill nothing may be torn, and the next run must give the tree of an undisturbed one, but for times in
manifests. `--every` takes every call, however many kills that makes.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bench.batch_dying import BEGUN, COMPUTED, COUNT, Fate, meet_fate
from bench.report import begin, finish
from umlite.outputs.staging import MARKER, PREFIX

MODES = ("one", "workers", "watch")
_TIMES = ("timings_s", "cost", "mtime_ns", "versions", "engine")
_OPEN_ENDED = ("failed.jsonl",)
"""Grow line by line while a run goes on."""


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


class Trial:
    """A batch of small scans, some of them bad, in a folder that is made anew for every kill."""

    def __init__(self, folder: Path, mode: str, options: argparse.Namespace) -> None:
        self._folder, self._mode = folder / "trial", mode
        self._source = folder / "scans"
        make_scans(self._source, options.scans)
        (self._source / "bad.nii").write_text("no scan\n")
        place = ["-o", str(self._folder / "out"), "-c", "liver,spleen", "--overlap", "0", "--weights", options.weights]
        place += ["--device", "cpu", "--threads", "2" if mode == "workers" else "1", "--statistics", "--no-checks"]
        verb = ["watch" if mode == "watch" else "segment", str(self._folder / "in"), *place]
        extra = {"one": [], "workers": ["--workers", "2"]}
        extra["watch"] = ["--once", "--still", "0", "--every", "0.1", "--attempts", "1"]
        self._arguments = [*verb, *extra[mode]]
        for moment in (0, COUNT):  # the first one calibrates, which the others need not do
            self.prepare()
            calm = Path(self._run(moment=moment))
            self._load(Path(f"{calm}.modules"))
        self._calm = tree(self._folder)
        self.counted = Path(f"{calm}.calls").stat().st_size // (2 if mode == "workers" else 1)
        self.prepare()
        child = self._start(fate := self._fate("calm", 0, "all"))
        self._wait_for_work(child, Path(fate.log))
        start = time.perf_counter()
        os.waitpid(child, 0)
        self.seconds = time.perf_counter() - start

    def prepare(self) -> None:
        """The folder as it is before the run."""
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.copytree(self._source, self._folder / "in", copy_function=os.link)

    def kill(self, tally: Tally, moment: int, variant: str) -> None:
        """A run that is killed, at a moment or (0) at random, and the one after it."""
        self.prepare()
        fate = self._fate("1", moment, variant)
        child = self._start(fate)
        if moment == 0:
            self._wait_for_work(child, Path(fate.log))
            time.sleep(random.uniform(0, self.seconds))
            status = _kill(child, variant)
        else:
            status = os.waitpid(child, 0)[1]
        died = Path(f"{fate.log}.died").exists() or os.WIFSIGNALED(status)
        tally.kills += died
        tally.survived += not died
        where = f"{self._mode} {variant} {moment}"
        torn = self._torn()
        tally.faults += [f"{where}: {fault}" for fault in torn]
        tally.torn += len(torn)
        again = self._run()
        first, second = (Counter(Path(log).read_text().splitlines()) for log in (fate.log, again))
        twice = {word: _twice(first, second, word) for word in (BEGUN, COMPUTED)}
        tally.begun_twice += twice[BEGUN]
        tally.computed_twice += twice[COMPUTED]
        tally.worst = max(tally.worst, twice[COMPUTED])
        differs = sorted(name for name, _ in set(_frozen(self._calm)) ^ set(_frozen(tree(self._folder))))
        tally.faults += [f"{where}: {name} differs" for name in differs]
        tally.other += bool(differs)
        tally.left += len(list(self._folder.rglob(f"{PREFIX}*")))

    def _fate(self, name: str, moment: int, variant: str) -> Fate:
        log = self._folder / "log" / name
        log.parent.mkdir(exist_ok=True)
        return Fate(str(log), moment, variant == "worker", self._mode != "workers")

    def _start(self, fate: Fate) -> int:
        """A process of its own group that has umlite loaded already."""
        child = os.fork()
        if child:
            return child
        os.setsid()
        said = os.open(f"{fate.log}.said", os.O_WRONLY | os.O_CREAT)
        for stream in (1, 2):
            os.dup2(said, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        atexit.register(lambda: Path(f"{fate.log}.modules").write_text(" ".join(sys.modules)))
        fate.meet()
        from umlite.__main__ import main as umlite_main

        sys.argv = ["umlite", *self._arguments]
        umlite_main()
        os._exit(99)

    def _run(self, *, moment: int = 0) -> str:
        """A run that nobody disturbs. Gives its log."""
        fate = self._fate("calm", moment, "all")
        status = os.waitpid(self._start(fate), 0)[1]
        if not os.WIFEXITED(status) or os.WEXITSTATUS(status) not in (0, 1):
            raise SystemExit(f"status {status}: {Path(f'{fate.log}.said').read_text()[-2000:]}")
        return fate.log

    def _load(self, listed: Path) -> None:
        """Import what a run imported, so that the next ones have it already."""
        for name in listed.read_text().split():
            with contextlib.suppress(Exception):
                importlib.import_module(name)

    def _wait_for_work(self, child: int, log: Path) -> None:
        while not (log.exists() and log.stat().st_size) and os.waitid(
            os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT
        ) is None:  # fmt: skip
            time.sleep(0.002)

    def _torn(self) -> list[str]:
        """What is under a final name and is not as it ends."""
        found = tree(self._folder)
        wrong = []
        for name, content in found.items():
            if PREFIX in name or name.startswith("in/"):
                continue
            if Path(name).name in _OPEN_ENDED:
                if not self._calm[name].startswith(content):
                    wrong.append(f"{name} has other lines")
            elif content != self._calm.get(name):
                wrong.append(f"{name} is torn")
        for folder in {Path(name).parent for name in self._calm if name.endswith("manifest.json")}:
            there, all_of_it = (sum(Path(n).parent == folder for n in t) for t in (found, self._calm))
            marked = (self._folder / folder / MARKER).exists()
            if 0 < there < all_of_it and not marked:
                wrong.append(f"{folder} has {there} of {all_of_it} files and no marker")
        return wrong


def _kill(child: int, variant: str) -> int:
    """Kill a run (all of it), the process that began it (first), or one that it started (worker), which it survives."""
    others = [int(pid) for pid in Path(f"/proc/{child}/task/{child}/children").read_text().split()]
    try:
        if variant == "all":
            os.killpg(child, signal.SIGKILL)
        elif variant == "first":
            os.kill(child, signal.SIGKILL)
        elif others:
            os.kill(others[-1], signal.SIGKILL)
    except ProcessLookupError:
        pass
    return os.waitpid(child, 0)[1]


def _twice(first: Counter[str], second: Counter[str], word: str) -> int:
    return sum(n - 1 for line, n in (first + second).items() if line.startswith(f"{word} "))


def _frozen(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, repr(content)) for name, content in found.items()]


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
    os.environ["UMLITE_CACHE"] = str(folder / "cache")
    trial = Trial(folder, mode, options)
    tally, start = Tally(), time.perf_counter()
    variants = ("all", "worker", "first") if mode == "workers" else ("all",)
    for number in range(options.kills // 2):
        trial.kill(tally, 0, variants[number % len(variants)])
    for number, moment in enumerate(moments(trial.counted, options.kills // 2, every=options.every)):
        trial.kill(tally, moment, ("all", "worker")[number % 2] if mode == "workers" else "all")
    return {**vars(tally), "moments": trial.counted, "seconds": round(time.perf_counter() - start, 1)}


def moments(count: int, kills: int, *, every: bool) -> list[int]:
    """Numbers of moments, evenly spread."""
    if every:
        return list(range(1, count + 1))
    return sorted({1 + round(at * (count - 1) / max(kills - 1, 1)) for at in range(kills)})


def umlite() -> list[str]:
    return [sys.executable, "-m", "umlite"]


def make_scans(folder: Path, count: int) -> None:
    """Small scans of noise around soft tissue."""
    folder.mkdir()
    for seed in range(count):
        rng = np.random.default_rng(seed)
        voxels = rng.normal(40, 60, (28, 26, 24)).astype(np.int16)
        nib.save(nib.Nifti1Image(voxels, np.diag([5.0, 5.0, 5.0, 1.0])), folder / f"scan{seed:03d}.nii")


def tree(folder: Path) -> dict[str, Any]:
    """Files with their content; manifests without times."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if not path.is_file() or name.startswith("log/"):
            continue
        found[name] = path.read_bytes()
        if path.suffix == ".json":
            with contextlib.suppress(ValueError):  # torn
                found[name] = timeless(json.loads(found[name]))
    return found


def timeless(data: Any) -> Any:
    if isinstance(data, dict):
        return {name: timeless(value) for name, value in data.items() if name not in _TIMES}
    return [timeless(value) for value in data] if isinstance(data, list) else data


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("modes", nargs="*", default=list(MODES), help=", ".join(MODES))
    parser.add_argument("--kills", type=int, default=100, help="of each mode, half of them at random")
    parser.add_argument("--every", action="store_true", help="before and after every call")
    parser.add_argument("--scans", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":
    meet_fate()
