"""Runs that are killed or interrupted while a scan's files appear: is a set ever partial without a marker that says so?

    python -m bench.interrupts                  # 240 kills, and an interruption at every line, new and replacing
    python -m bench.interrupts --quick          # a few, to try the script

Kills (SIGKILL) come before and after system calls that change a folder, spread evenly over all of them. Interruptions
(KeyboardInterrupt) come at every line of the modules that write. After each, the files are compared with those of whole
sets; then the next run's recovery is called, and they are compared again.
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bench.interrupting import interrupted_at, lines_of
from bench.report import begin, finish
from umlite import Segmenter
from umlite.api import Segmentation
from umlite.outputs import file_set, journal, leftovers, staging
from umlite.outputs.leftovers import recover
from umlite.outputs.staging import MARKER, hidden_names
from umlite.phantom import make_phantom
from umlite.products import writing as products
from umlite.products.masks import Masks, Probabilities
from umlite.products.place import Place
from umlite.products.product import Finished
from umlite.products.writing import write_products
from umlite.results import segmentation, writing

CALLS = ("mkdir", "rename", "replace", "link", "unlink", "rmdir", "fsync")
MODULES = (file_set, journal, leftovers, staging, writing, segmentation, products)
CLASSES = "liver,spleen,kidneys,pancreas,aorta"
SIDES = (40, 36, 20)

Files = dict[str, bytes]


@dataclass
class Tally:
    """What was found. marked: partial or mixed, and the marker was there. untold: the same without a marker.

    wrong, left: sets that are partial or mixed, and hidden files, after the next run.
    """

    moments: int = 0
    old_or_new: int = 0
    marked: int = 0
    untold: int = 0
    wrong: int = 0
    left: int = 0


class Trial:
    """Two results of the same classes that are written over each other in one folder."""

    def __init__(self, folder: Path, results: tuple[Segmentation, Segmentation], *, replacing: bool) -> None:
        self.out, self._results, self._replacing = folder / "out", results, replacing
        self.new = self._files_of(results[1])
        self.before = self._files_of(results[0]) if replacing else {}

    def prepare(self) -> None:
        """The folder as it is before the run."""
        shutil.rmtree(self.out, ignore_errors=True)
        if self._replacing:
            self._write(self._results[0])

    def write(self) -> None:
        """The run."""
        self._write(self._results[1])

    def count(self, tally: Tally) -> None:
        """Look at the folder after the run was stopped, and after the next run."""
        tally.moments += 1
        is_whole = self._found() in (self.before, self.new)
        marked = (self.out / MARKER).exists()
        tally.old_or_new += is_whole
        tally.marked += not is_whole and marked
        tally.untold += not is_whole and not marked
        gc.collect()  # frames of what was interrupted may hold its lock, which the end of a process lets go
        recover(self.out)
        tally.wrong += self._found() not in (self.before, self.new)
        tally.left += len(hidden_names(self.out))

    def _write(self, result: Segmentation) -> None:
        write_products(
            [Masks(), Probabilities()], Finished(result), Place(self.out), manifest_path=None, overwrite=self._replacing
        )

    def _files_of(self, result: Segmentation) -> Files:
        shutil.rmtree(self.out, ignore_errors=True)
        self._write(result)
        return self._found()

    def _found(self) -> Files:
        return {path.name: path.read_bytes() for path in self.out.glob("*.nii.gz")}


def main() -> None:
    options = arguments()
    report = begin("interrupts", vars(options))
    with tempfile.TemporaryDirectory(prefix="umlite-bench-") as folder:
        results = two_results(Path(folder))
        for name, replacing in (("new", False), ("replacing", True)):
            trial = Trial(Path(folder), results, replacing=replacing)
            for kind, run in (("kills", kills), ("interruptions", interruptions)):
                start = time.perf_counter()
                found = asdict(run(trial, options.kills // 2, options.step))
                report[f"{kind}_{name}"] = found | {"seconds": round(time.perf_counter() - start, 1)}
                print(f"{kind}, {name}: {found}", flush=True)
    finish(report)


def kills(trial: Trial, count: int, _step: int) -> Tally:
    """Kill children before and after system calls."""
    tally = Tally()
    trial.prepare()
    most = 2 * calls_of(trial.write)
    for moment in sorted({1 + round(at * (most - 1) / max(count - 1, 1)) for at in range(count)}):
        trial.prepare()
        child = os.fork()
        if child == 0:
            die_at(moment)
            trial.write()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            raise SystemExit(f"No kill at moment {moment} of {most}: status {status}.")
        trial.count(tally)
    return tally


def calls_of(work: Callable[[], object]) -> int:
    """System calls that `work` makes to change folders."""
    made = 0

    def note() -> None:
        nonlocal made
        made += 1

    restore = around_calls(note, lambda: None)
    try:
        work()
    finally:
        restore()
    return made


def die_at(moment: int) -> None:
    """End this process before or after a call: odd moments come before the calls, even ones after."""
    left = moment

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    around_calls(count, count)


def around_calls(before: Callable[[], None], after: Callable[[], None]) -> Callable[[], None]:
    """Call `before` and `after` around system calls, until what is returned is called."""

    def watched(real: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        before()
        try:
            return real(*arguments, **options)
        finally:
            after()

    kept = {name: getattr(os, name) for name in CALLS}
    for name, real in kept.items():
        setattr(os, name, partial(watched, real))
    return lambda: [setattr(os, name, real) for name, real in kept.items()] and None


def interruptions(trial: Trial, _count: int, step: int) -> Tally:
    """Interrupt at every line (or every so many)."""
    tally = Tally()
    files = {module.__file__ for module in MODULES if module.__file__}
    trial.prepare()
    for moment in range(1, lines_of(trial.write, files) + 1, step):
        trial.prepare()
        interrupted_at(moment, trial.write, files)
        trial.count(tally)
    return tally


def two_results(folder: Path) -> tuple[Segmentation, Segmentation]:
    """Masks and probabilities of two boxes of a phantom."""
    phantom = make_phantom(0)
    segmenter = Segmenter("demo", device="cpu", threads=1, kernels="torch")
    made = []
    for number, corner in enumerate((0, 12)):
        box = tuple(slice(size // 2 - side // 2 + corner, size // 2 + side // 2 + corner)
                    for size, side in zip(phantom.hu.shape, SIDES, strict=True))  # fmt: skip
        path = folder / f"{number}.nii"
        nib.save(nib.Nifti1Image(phantom.hu[box].astype(np.int16), phantom.affine), path)
        made.append(segmenter.segment(path, CLASSES, probabilities=True, folder=folder))
    return made[0], made[1]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=240, help="half of them new, half replacing")
    parser.add_argument("--step", type=int, default=1, help="interrupt at every so many lines")
    parser.add_argument("--threads", type=int, help="taken for the sake of the other scripts: one is used")
    parser.add_argument("--quick", action="store_true", help="12 kills, every 97th line")
    options = parser.parse_args()
    if options.quick:
        options.kills, options.step = 12, 97
    return options


if __name__ == "__main__":
    main()
