"""Parts of a benchmark one after the other, each with a limit of time, none lost by what goes wrong in another.

Parts run in a process of their own, because a GPU that has once faulted answers nothing more in the process that
faulted it, and because a kernel that hangs can only be stopped from outside. One process takes part after part; after
a fault or a stop the next part gets a new one. What a part has yielded is out of its process at once.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Earlier = Mapping[str, list[Row]]
Note = Callable[[Row], None]


@dataclass(frozen=True)
class Part:
    """A step of a benchmark.

    Args:
        name: its name in the results.
        function: "module:function", a generator of rows: (session, rows of earlier parts by name) -> rows. A row with
            a key "fault" tells of something that went wrong.
        seconds: the longest it may take.
        resumes: whether it begins where its own earlier rows end, so that one bad row costs no other.
    """

    name: str
    function: str
    seconds: float
    resumes: bool = False


class Lost(Exception):  # noqa: N818 - what happened to a part, not to a program
    """A part's process died or was stopped in the middle of a row."""


class Workers:
    """Runs parts in a process that is replaced where it faults, stops answering or dies.

    Args:
        make: "module:function" that makes the session for all parts of a process from `argument`.
        argument: anything that can be pickled.
        log: file that gets what the process prints.
    """

    def __init__(self, make: str, argument: object, log: Path) -> None:
        self._make, self._argument, self._log = make, argument, log
        self._process: Any = None
        self._connection: Any = None

    def run(self, part: Part, earlier: Earlier, seconds: float, note: Note) -> str:
        """Run a part; rows go to `note` as they come. Returns what the part raised, on one line, or an empty string.

        Raises:
            Lost: its process died, or was stopped because the time was up.
        """
        self._start()
        self._connection.send((part.function, dict(earlier)))
        deadline, faults = time.monotonic() + seconds, 0
        try:
            while self._connection.poll(max(deadline - time.monotonic(), 0)):
                kind, value = self._connection.recv()
                if kind == "row":
                    faults += bool(value.get("fault"))
                    note(value)
                    continue
                if value or faults:
                    self.close()
                return value
        except (EOFError, ConnectionError):
            process = self._process
            process.join()
            self.close()
            raise Lost(f"its process ended with exit code {process.exitcode}") from None
        self.close()
        raise Lost(f"stopped after {seconds:.0f} s")

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None

    def _start(self) -> None:
        if self._process is not None:
            return
        context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
        self._connection, theirs = context.Pipe()
        arguments = (theirs, self._make, self._argument, self._log)
        self._process = context.Process(target=_serve, args=arguments)
        self._process.start()
        theirs.close()


class Inline:
    """Runs parts in this process: for debuggers, profilers and tests. Nothing stops a part that hangs."""

    def __init__(self, make: str, argument: object) -> None:
        self._session = named(make)(argument)

    def run(self, part: Part, earlier: Earlier, seconds: float, note: Note) -> str:  # noqa: ARG002
        """As `Workers.run`, without the limit of time."""
        return _run(part.function, self._session, earlier, note)

    def close(self) -> None:
        """Nothing to end."""


def said(error: BaseException) -> str:
    """An error on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def guarded(row: Row, measure: Callable[[], Row]) -> Row:
    """`row` with what `measure` gives, or with a fault where it raises."""
    try:
        return {**row, **measure()}
    except Exception as error:
        return {**row, "fault": said(error)}


def named(path: str) -> Callable[..., Any]:
    """The function that "module:function" names."""
    module, function = path.split(":")
    return getattr(importlib.import_module(module), function)


def _run(function: str, session: Any, earlier: Earlier, note: Note) -> str:
    try:
        rows: Iterator[Row] = named(function)(session, earlier)
        for row in rows:
            note(row)
    except Exception as error:
        return said(error)
    return ""


def _serve(connection: Connection, make: str, argument: object, log: Path) -> None:
    """The process: takes parts until it is ended. The session is made for the first one, so that a fault is told."""
    with log.open("a") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    session: Any = None
    while True:
        try:
            function, earlier = connection.recv()
        except EOFError:  # whoever started this process is gone
            return
        fault = ""
        try:
            session = session or named(make)(argument)
        except Exception as error:
            fault = said(error)
        connection.send(("end", fault or _run(function, session, earlier, lambda row: connection.send(("row", row)))))
