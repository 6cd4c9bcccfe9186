"""The `umlite` command: prepares streams and signals, then runs the commands of cli.py."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from umlite.errors import Terminated


def main() -> None:
    """Run the command line and exit with one of these codes.

    0: done. 1: a defect of umlite (a traceback), or `umlite verify` beyond its tolerance. 2: bad input, request,
    weights or output (a message). 130: interrupted, 143: terminated, 129: hung up; no partial file is left.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    for signal_name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, signal_name):
            signal.signal(getattr(signal, signal_name), _end)
    from umlite.cli import app

    app()


def _end(number: int, _frame: FrameType | None) -> None:
    raise Terminated(128 + number)


if __name__ == "__main__":
    main()
