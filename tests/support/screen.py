"""A terminal: a pair of pseudo-terminals, and the screen that what was written to it leaves."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO

from rich.cells import cell_len

_PATIENCE_S = 60
_TOKENS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]|[^\x1b\r\n]")


class Terminal:
    """The far end of a terminal, which reads what programs write. file: number of the near end, for programs."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self._far, self.file = pty.openpty()
        self.columns, self.rows = columns, rows
        self.resize(columns, rows)
        self._bytes = b""

    def resize(self, columns: int, rows: int) -> None:
        """Have another size. `screen` goes by the size of the moment."""
        self.columns, self.rows = columns, rows
        fcntl.ioctl(self._far, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read_until(self, text: str) -> None:
        """Wait until the screen shows a text."""
        while text not in "\n".join(self.screen()):
            assert self._comes(_PATIENCE_S), f"nothing comes any more; shown: {self.screen()}"

    def screen(self) -> list[str]:
        """The lines by now, including those that have scrolled out of sight, without empty ones at the end."""
        while self._comes(0):
            self._read()
        lines, y, x = [""], 0, 0
        for token in _TOKENS.findall(self.written):
            if token == "\r":
                x = 0
            elif token == "\n":
                y += 1
                lines += [""] * (y + 1 - len(lines))
            elif token == "\x1b[J":
                lines[y:] = [lines[y][:x]]
            elif token.endswith("A"):
                y -= int(token[2:-1])
            elif token.startswith("\x1b"):
                assert token.endswith("m"), f"a sequence that changes the terminal: {token!r}"
            else:
                lines[y] = lines[y][:x].ljust(x) + token + lines[y][x + 1 :]
                x += 1
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def written(self) -> str:
        """All that has been read so far."""
        return self._bytes.decode(errors="ignore")  # the last character may have come in part

    def widest(self) -> int:
        """Columns of the widest line that is on the screen."""
        return max(map(cell_len, self.screen()), default=0)

    def _comes(self, patience_s: float) -> bool:
        return bool(select.select([self._far], [], [], patience_s)[0])

    def _read(self) -> None:
        self._bytes += os.read(self._far, 1 << 16)


@contextmanager
def streams_on(terminal: Terminal) -> Iterator[None]:
    """Within: stdout and stderr of this process write to a terminal."""
    with stream_on(terminal) as stream, redirect_stderr(stream), redirect_stdout(stream):
        yield


@contextmanager
def stream_on(terminal: Terminal, encoding: str = "utf-8") -> Iterator[TextIO]:
    """A stream of this process that writes to a terminal."""
    with open(os.dup(terminal.file), "w", encoding=encoding, errors="backslashreplace") as stream:
        yield stream
