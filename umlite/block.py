"""A block of lines that stays at the bottom of a terminal while other lines scroll above it.

The cursor rests on an empty line above the block, so that erasing it needs no count of lines: whatever a resize has
made of them, they are below. Nothing is hidden or switched, so a process that ends in any way leaves a usable terminal.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TextIO

from rich.cells import cell_len, set_cell_size

EVERY_S = 0.25
"""Between two looks at whether the lines have changed."""
_ERASE = "\r\x1b[J"
_shown: list[Block] = []


def can_draw(stream: TextIO) -> bool:
    """Whether a stream is a terminal that a block can be drawn on; the logs of CI systems are not."""
    if os.name != "posix" or not stream.isatty() or os.environ.get("CI", "").lower() not in ("", "0", "false"):
        return False
    return os.environ.get("TERM", "").lower() not in ("", "dumb", "unknown")


@contextmanager
def above_block(stream: TextIO) -> Iterator[None]:
    """Within: lines can be written to a stream, and the block, if there is one on that terminal, is out of the way."""
    if not _shown or not stream.isatty():
        yield
        return
    with _shown[-1].lifted():
        yield


class Block:
    """A block of lines, drawn anew while it is entered. Without a thread to draw it, there is none.

    Args:
        lines: gives the lines of this moment for a width in characters. It is called in a thread of its own.
        stream: a terminal.
    """

    def __init__(self, lines: Callable[[int], Sequence[str]], stream: TextIO) -> None:
        self._lines, self._stream = lines, stream
        self._lock = threading.RLock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._keep_drawing, daemon=True, name="umlite-terminal")
        self._drawn = ""

    def __enter__(self) -> Block:
        with suppress(RuntimeError):  # a system that refuses threads
            self._thread.start()
            _shown.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self in _shown:
            _shown.remove(self)
            with self._lock:
                self._write(_ERASE if self._drawn else "")
                self._drawn = ""

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Within: the block is gone, and the cursor is where it began."""
        with self._lock:
            self._write(_ERASE if self._drawn else "")
            try:
                yield
            finally:
                self._write(self._drawn)

    def _keep_drawing(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are for the thread that runs the scans
        while not self._end.wait(EVERY_S):
            self._draw()

    def _draw(self) -> None:
        try:
            columns, rows = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            columns, rows = 0, 0
        columns, rows = columns or 80, rows or 24
        lines = self._fitting(self._lines(columns - 1), columns - 1, max(rows - 2, 1))
        drawn = "".join(f"\n{line}" for line in lines) + f"\x1b[{len(lines)}A\r"
        with self._lock:
            if drawn != self._drawn and not self._end.is_set():
                self._write(_ERASE + drawn)
                self._drawn = drawn

    def _fitting(self, lines: Sequence[str], width: int, most: int) -> list[str]:
        if len(lines) > most:
            lines = [*lines[: most - 1], f"and {len(lines) - most + 1} more"]
        encoding = self._stream.encoding or "utf-8"
        told = (line.encode(encoding, "backslashreplace").decode(encoding) for line in lines)
        return [line if cell_len(line) <= width else set_cell_size(line, width) for line in told]

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # the terminal is gone, which does not stop the scans
            self._stream.write(text)
            self._stream.flush()
