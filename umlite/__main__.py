"""The `umlite` command: exit codes and signals; the commands are in cli.py."""

from __future__ import annotations

import signal
import sys
from types import FrameType

INTERRUPTED, TERMINATED = 130, 143


def main() -> None:
    """Run the command line and exit.

    0: done. 1: a defect of umlite (a traceback). 2: bad input, request, weights or output (a message).
    130, 143: interrupted, terminated; no partial file is left.
    """
    signal.signal(signal.SIGTERM, _terminate)
    from umlite.cli import app

    try:
        app()
    except KeyboardInterrupt:
        print("Interrupted: no partial file was left.", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(TERMINATED)


if __name__ == "__main__":
    main()
