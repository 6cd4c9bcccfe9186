"""Runs of a batch that something happens to, each in a process that has umlite loaded already."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bench.batch_dying import COUNT, Fate
from umlite.outputs.staging import MARKER, PREFIX

MODES = ("one", "workers", "watch")
_TIMES = ("timings_s", "cost", "mtime_ns", "versions", "engine")
_OPEN_ENDED = ("failed.jsonl",)
"""Grow line by line while a run goes on."""


class Trial:
    """A batch of small scans, one of them bad, in a folder that is made anew for every run that is disturbed.

    Args:
        folder: for all that is made.
        mode: one of MODES.
        weights: file of weights.
        scans: number of good scans.
        refuses: whether the folder of results refuses changes, from a moment on; nothing is killed.
        spawn: whether processes of a run are started as umlite does, which takes seconds; else they are forked.
    """

    def __init__(
        self, folder: Path, mode: str, weights: str, scans: int, *, refuses: bool = False, spawn: bool = False
    ) -> None:
        os.environ["UMLITE_CACHE"] = str(folder / "cache")
        os.environ["TMPDIR"] = str(folder / "trial" / "tmp")
        self.folder, self.mode = folder / "trial", mode
        self._spawn, self._refuses = spawn, refuses
        self._source = folder / "scans"
        make_scans(self._source, scans)
        (self._source / "bad.nii").write_text("no scan\n")
        place = ["-o", str(self.folder / "out"), "-c", "liver,spleen", "--overlap", "0", "--weights", weights]
        place += ["--device", "cpu", "--threads", "2" if mode == "workers" else "1", "--statistics", "--no-checks"]
        verb = ["watch" if mode == "watch" else "segment", str(self.folder / "in"), *place]
        extra = {"one": [], "workers": ["--workers", "2"]}
        extra["watch"] = ["--once", "--still", "0", "--every", "0.1", "--attempts", "1"]
        self._arguments = [*verb, *extra[mode]]
        for moment in (0, COUNT):  # the first one calibrates, which the others need not do
            self.prepare()
            calm = Path(self.run(moment=moment))
            _load(Path(f"{calm}.modules"))
        self._calm = tree(self.folder)
        self.counted = Path(f"{calm}.calls").stat().st_size // (2 if mode == "workers" else 1)
        self.prepare()
        child = self.start(fate := self.fate("calm", 0, "all"))
        self.wait_for_work(child, Path(fate.log))
        start = time.perf_counter()
        os.waitpid(child, 0)
        self.seconds = time.perf_counter() - start

    def prepare(self) -> None:
        """The folder as it is before the run."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self._source, self.folder / "in", copy_function=os.link)
        (self.folder / "tmp").mkdir()

    def fate(self, name: str, moment: int, variant: str) -> Fate:
        log = self.folder / "log" / name
        log.parent.mkdir(exist_ok=True)
        refused = str(self.folder / "out") if self._refuses else ""
        return Fate(str(log), moment, variant == "worker", self.mode != "workers", refused)

    def start(self, fate: Fate) -> int:
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
        if not self._spawn:
            fate.fork_workers()
        fate.meet()
        from umlite.__main__ import main as umlite_main

        sys.argv = ["umlite", *self._arguments]
        umlite_main()
        os._exit(99)

    def run(self, *, moment: int = 0) -> str:
        """A run that nobody disturbs. Gives its log."""
        fate = self.fate("calm", moment, "all")
        status = os.waitpid(self.start(fate), 0)[1]
        said = Path(f"{fate.log}.said").read_text()
        if os.waitstatus_to_exitcode(status) not in (0, 1) or "Traceback" in said:
            raise SystemExit(f"status {status}: {said[-2000:]}")
        return fate.log

    def wait_for_work(self, child: int, log: Path) -> None:
        while not (log.exists() and log.stat().st_size) and os.waitid(
            os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT
        ) is None:  # fmt: skip
            time.sleep(0.002)

    def torn(self) -> list[str]:
        """What is under a final name and is not as it ends."""
        found = tree(self.folder)
        wrong = []
        for name, content in found.items():
            if PREFIX in name or name.startswith("in/"):
                continue
            if Path(name).name in _OPEN_ENDED:
                if not self._refuses and not self._calm[name].startswith(content):
                    wrong.append(f"{name} has other lines")
            elif content != self._calm.get(name):
                wrong.append(f"{name} is torn")
        for folder in {Path(name).parent for name in self._calm if name.endswith("manifest.json")}:
            there, all_of_it = (sum(Path(n).parent == folder for n in t) for t in (found, self._calm))
            marked = (self.folder / folder / MARKER).exists()
            if 0 < there < all_of_it and not marked:
                wrong.append(f"{folder} has {there} of {all_of_it} files and no marker")
        return wrong

    def differs(self) -> list[str]:
        """Files that are not those of the calm run."""
        return sorted({name for name, _ in set(_frozen(self._calm)) ^ set(_frozen(tree(self.folder)))})

    @property
    def left(self) -> int:
        """Number of hidden files."""
        return len(list(self.folder.rglob(f"{PREFIX}*")))


def _load(listed: Path) -> None:
    """Import what a run imported, so that the next ones have it already."""
    for name in listed.read_text().split():
        with contextlib.suppress(Exception):
            importlib.import_module(name)


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
        if not path.is_file() or name.startswith(("log/", "tmp/")):
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


def _frozen(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, repr(content)) for name, content in found.items()]
