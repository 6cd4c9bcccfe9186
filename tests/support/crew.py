"""What processes of a batch load in tests: a segmenter that some scans end, or keep for ever."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from umlite import Segmenter
from umlite.cost.forecast import Forecast
from umlite.engines.options import EngineOptions
from umlite.machine.memory import refused


def load(weights: Path, options: EngineOptions) -> Segmenter:
    """A segmenter for which the names of scans are fates.

    `deadly` ends its process, `once` does so the first time, `endless` is never read. `crowded` is refused memory the
    first time, while `patient` waits for that with its windows. `held` has its masks once there is a file called `go`.
    """
    import torch

    torch.set_num_threads(1)
    segmenter = Segmenter(weights, options)
    prepare = segmenter.prepare

    def fateful(scan: Path, **how: Any) -> Any:
        name = Path(scan).stem
        trace = Path(scan).with_suffix(".tried")
        if name.startswith("deadly") or (name.startswith("once") and not trace.exists()):
            trace.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if name.startswith("endless"):
            threading.Event().wait()
        if name.startswith("crowded") and not trace.exists():
            trace.touch()
            raise refused(1 << 30, "a test")
        return prepare(scan, **how)

    def patiently(prepared: Any, *given: Any, **how: Any) -> Any:
        if prepared.scan.name.startswith("patient"):
            await_file(prepared.scan.path.parent / "crowded.tried")
        return decide(prepared, *given, **how)

    def held(decided: Any) -> Any:
        path = decided.scan.path
        if path.stem.startswith("held"):
            path.with_suffix(".tried").touch()
            await_file(path.parent / "go")
        return finish(decided)

    decide, finish = segmenter.decide, segmenter.finish
    segmenter.prepare, segmenter.decide, segmenter.finish = fateful, patiently, held  # type: ignore[method-assign]
    return segmenter


def load_for_command(weights: str, options: EngineOptions, output: object = None, packs: object = None) -> Segmenter:  # noqa: ARG001
    """`load` in place of `umlite.commands.options.load`."""
    return load(Path(weights), options)


def load_in_all_but_one(weights: Path, trace: Path, options: EngineOptions) -> Segmenter:
    """`load`, but for the first process that tries: it is refused memory."""
    try:
        trace.touch(exist_ok=False)
    except FileExistsError:
        return load(weights, options)
    raise refused(1 << 30, "a test")


def await_file(path: Path) -> None:
    """Return when there is such a file."""
    while not path.exists():
        time.sleep(0.02)


def forecast(_options: EngineOptions, segmenter: Segmenter) -> Forecast:
    """No limits."""
    return Forecast(segmenter)
