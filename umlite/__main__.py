"""The `umlite` command: prepares streams and signals, then runs the commands of cli.py."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from types import FrameType

from umlite.errors import Terminated
from umlite.machine.imports import quick_imports

_INTERRUPTED = 130
_received: list[int] = []


def main() -> None:
    """Run the command line and end the process with one of these codes.

    0: done. 1: a defect of umlite (a traceback), or `umlite verify` beyond its tolerance. 2: bad input, request,
    weights or output (a message). 130: interrupted, 143: terminated, 129: hung up; no partial file is left.
    """
    try:
        code = _run()
    except KeyboardInterrupt as interruption:
        code = getattr(interruption, "exit_code", _INTERRUPTED)
    _end(128 + _received[0] if _received else code)


def _run() -> int:
    try:
        _open_streams()
        _take_signals()
        with quick_imports():
            from umlite.cli import app
        app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _open_streams() -> None:
    """Have both streams take any text, or nothing where they are closed, and keep their numbers from other files."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest number that is free
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _take_signals() -> None:
    """End well when the system asks to. A signal that was ignored at the start, as nohup has it, stays ignored."""
    for number in _ending_signals():
        if number != signal.SIGINT:
            signal.signal(number, _interrupt)


def _ending_signals() -> list[signal.Signals]:
    known = [number for number in signal.Signals if number.name in ("SIGINT", "SIGTERM", "SIGHUP")]
    return [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _received.append(number)
    raise Terminated(128 + number)


def _end(code: int) -> None:
    """Leave at once: Python's own end takes a while, and a signal would kill the process in it, whatever its code."""
    for number in _ending_signals():
        signal.signal(number, lambda number, _frame: os._exit(128 + number))
    try:
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # nobody reads
                stream.flush()
    except KeyboardInterrupt as interruption:
        code = getattr(interruption, "exit_code", _INTERRUPTED)
    os._exit(code)


if __name__ == "__main__":
    main()
