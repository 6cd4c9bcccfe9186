"""Feeds a target with hostile inputs: only typed errors are allowed, in bounded time and memory.

A target prepares an input and returns the call that reads it; targets are the `TARGETS` of modules beside this one.
The last line is one JSON object. Exit code 1 when an input broke a rule; its files are kept where the output says.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import bench.fuzz
from umlite.cpu.buffers import trim
from umlite.errors import UmliteError

Target = Callable[[random.Random, Path], Callable[[], object]]
"""From a generator and an empty folder to the call that is tried."""

MOST_FAILURES = 20
WAITING = 30  # how much longer than its processor time an input may take: a machine can be busy, a pipe never answers


class _TooLong(BaseException):
    """An input took longer than allowed; no `except Exception` hides it."""


@dataclass
class Tally:
    """What came of the inputs so far."""

    accepted: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)
    most_seconds: float = 0.0
    most_megabytes: float = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one target and return the exit code."""
    known = targets()
    parser = argparse.ArgumentParser(prog="bench.fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(known))
    parser.add_argument("--count", type=int, default=1000, help="number of inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="run this input alone, to see its traceback")
    parser.add_argument("--seconds", type=float, default=10.0, help="most processor time of one input")
    parser.add_argument("--megabytes", type=float, default=500.0, help="largest memory of one input")
    options = parser.parse_args(arguments)
    tally, began = Tally(), time.perf_counter()
    for number in range(options.count) if options.only is None else [options.only]:
        _try(known[options.target], number, options, tally)
        if len(tally.failures) == MOST_FAILURES:
            break
    report = {
        "target": options.target,
        "seed": options.seed,
        "inputs": tally.accepted + tally.refused + len(tally.failures),
        "accepted": tally.accepted,
        "refused": tally.refused,
        "failures": tally.failures,
        "most_seconds": round(tally.most_seconds, 3),
        "most_megabytes": round(tally.most_megabytes, 1),
        "seconds": round(time.perf_counter() - began, 1),
    }
    print(json.dumps(report))
    return 1 if tally.failures else 0


def _try(target: Target, number: int, options: argparse.Namespace, tally: Tally) -> None:
    """Run input `number` of the seed, the same whichever ran before."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    call = target(random.Random(f"{options.target} {options.seed} {number}"), folder)
    signal.signal(signal.SIGPROF, _stop)
    signal.signal(signal.SIGALRM, _stop)
    before = _reset_peak()
    began = time.process_time()
    error: BaseException | None
    try:
        error = _error_of(call, options.seconds)
    except _TooLong as late:
        error = late
    seconds, megabytes = time.process_time() - began, _peak() - before
    fault = ""
    if isinstance(error, _TooLong):
        fault = f"took more than {options.seconds} s"
    elif error is not None and not isinstance(error, UmliteError):
        fault = f"{type(error).__name__}: {error}"
        if options.only is not None:
            traceback.print_exception(error)
    elif megabytes > options.megabytes:
        fault = f"took {megabytes:.0f} MB"
    tally.most_seconds = max(tally.most_seconds, seconds)
    tally.most_megabytes = max(tally.most_megabytes, megabytes)
    if fault:
        tally.failures.append(f"input {number}: {fault[:300]} ({folder})")
        print(tally.failures[-1], flush=True)
    else:
        tally.accepted += error is None
        tally.refused += error is not None
        shutil.rmtree(folder)


def _error_of(call: Callable[[], object], seconds: float) -> Exception | None:
    """What a call raises. Raises _TooLong wherever it is when the time is over."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, WAITING * seconds)
    try:
        call()
    except Exception as error:
        return error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None


def _stop(*_: object) -> None:
    raise _TooLong


def _reset_peak() -> float:
    """Forget the process's peak memory, where Linux lets it; returns the memory of now in megabytes.

    Free memory goes back to the system first: an input that is served from it would seem to need none.
    """
    trim()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _peak() -> float:
    return _memory("VmHWM")


def _memory(entry: str) -> float:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(entry):
                return int(line.split()[1]) / 1000
    return 0.0


def targets() -> dict[str, Target]:
    """Every target by name."""
    found: dict[str, Target] = {}
    for module in pkgutil.iter_modules(bench.fuzz.__path__):
        if module.name != "__main__":
            found |= getattr(importlib.import_module(f"bench.fuzz.{module.name}"), "TARGETS", {})
    return found


if __name__ == "__main__":
    sys.exit(main())
