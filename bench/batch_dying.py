"""What a process of `bench.batch_kills` does besides its work: note each computation, and die at a chosen call."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.interrupts import around_calls
from umlite.batch.steps import Steps

VARIABLE = "UMLITE_BENCH_FATE"
COUNT = -1
BEGUN, COMPUTED = "begun", "computed"


@dataclass(frozen=True)
class Fate:
    """What happens to a process. It travels to the processes that this one starts, in an environment variable.

    Args:
        log: file that gets a line when the windows of a scan begin, and when all have run.
        moment: before which call that changes a folder it dies (odd numbers), or after which (even ones). 0 for none.
            COUNT: it lives, and LOG.calls gets a byte for each moment.
        only_itself: whether other processes of the run go on.
        is_first: whether the process that begins the run may die, too, or only those that it starts.
    """

    log: str
    moment: int = 0
    only_itself: bool = False
    is_first: bool = True

    def meet(self) -> None:
        """Let it happen to this process, and to those that it starts."""
        os.environ[VARIABLE] = json.dumps({**asdict(self), "is_first": True})
        self._note_computations()
        if self.moment and self.is_first:
            around_calls(*self._countdown())

    def _note_computations(self) -> None:
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        decide = Steps.decide

        def noted(steps: Steps, ready: Any, *given: Any) -> Any:
            os.write(log, f"{BEGUN} {ready.job.scan.name}\n".encode())
            answered = decide(steps, ready, *given)
            os.write(log, f"{COMPUTED} {ready.job.scan.name}\n".encode())
            return answered

        Steps.decide = noted  # type: ignore[method-assign]

    def _countdown(self) -> tuple[Callable[[], None], Callable[[], None]]:
        moments = itertools.count(1)  # several threads make calls
        calls = os.open(f"{self.log}.calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND) if self.moment == COUNT else None

        def count() -> None:
            if calls is not None:
                os.write(calls, b".")
            elif next(moments) == self.moment:
                self._die()

        return count, count

    def _die(self) -> None:
        try:
            Path(f"{self.log}.died").touch(exist_ok=False)
        except FileExistsError:
            return  # one death a run
        if self.only_itself:
            os.kill(os.getpid(), signal.SIGKILL)
        os.killpg(os.getpgid(0), signal.SIGKILL)


def meet_fate() -> None:
    """In a process that another one of the run started."""
    if text := os.environ.get(VARIABLE):
        Fate(**json.loads(text)).meet()
