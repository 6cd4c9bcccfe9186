"""What a process of `bench.batch_kills` does besides its work: note each computation, and die at a chosen call."""

from __future__ import annotations

import builtins
import errno
import io
import itertools
import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.interrupts import CALLS, around_calls
from umlite.batch import crew
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
        refused: a folder where, in place of a death, every change is refused from that moment on, as if its file
            system had become read-only.
    """

    log: str
    moment: int = 0
    only_itself: bool = False
    is_first: bool = True
    refused: str = ""

    def meet(self) -> None:
        """Let it happen to this process, and to those that it starts."""
        os.environ[VARIABLE] = json.dumps({**asdict(self), "is_first": True})
        self._note_computations()
        if self.is_first:
            self.await_moment()

    def fork_workers(self) -> None:
        """Have the processes that this one starts be copies of it, which takes no time; umlite starts new ones."""
        context = multiprocessing.get_context("fork")
        pipe, inherited = context.Pipe, []

        def noted_pipe() -> Any:
            ours, theirs = pipe()
            inherited.append(ours)
            return ours, theirs

        context.Pipe = noted_pipe  # type: ignore[method-assign]
        crew.multiprocessing.get_context = lambda _method: context  # type: ignore[attr-defined]
        work = crew.work

        def fated(*given: Any) -> None:
            for end in inherited:  # a new process would not have it, and sees the end of the one that began it
                end.close()
            self.await_moment()
            work(*given)

        crew.work = fated  # type: ignore[assignment]

    def await_moment(self) -> None:
        """Count the calls of this process, and die at one; or refuse them from one on."""
        if self.moment and self.refused:
            self._refuse()
        elif self.moment:
            around_calls(*self._countdown())

    def _refuse(self) -> None:
        moments = itertools.count(1)
        calls = os.open(f"{self.log}.calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        plain_open = io.open

        def refusing(real: Callable[..., Any], *given: Any, **options: Any) -> Any:
            mode = str(options.get("mode", given[1] if len(given) > 1 else "r"))
            reads = real is plain_open and not set(mode) & set("wxa+")
            if not reads and any(str(one).startswith(self.refused) for one in given):
                if self.moment == COUNT:
                    os.write(calls, b".")
                elif next(moments) >= self.moment:
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(given[0]))
            return real(*given, **options)

        for name in CALLS:
            setattr(os, name, partial(refusing, getattr(os, name)))
        builtins.open = io.open = partial(refusing, plain_open)  # type: ignore[assignment]

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
