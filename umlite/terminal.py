"""Text, tables, progress and JSON on the terminal. A reader that goes away never stops the computation."""

from __future__ import annotations

import json
import os
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from umlite.block import Block, above_block, can_draw
from umlite.progress import Progress, no_progress

PIPE_WIDTH = 160
EVERY_S = 120.0
"""Between two lines about a scan's progress where there is no terminal."""
_WIDEST = 100_000
_BAR = 20
_lost: list[OSError] = []
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of characters that control, reorder or break text."""


def plain(text: str) -> str:
    """Text whose control characters are written as escapes, so that no name steers the terminal or forges a line.

    A line break stays only before an indentation, as our own lists have it: nothing else begins a line.
    """
    return "".join(_shown(char, text[at + 1 : at + 3]) for at, char in enumerate(text))


def _shown(char: str, following: str) -> str:
    if unicodedata.category(char) not in _UNSEEN or (char == "\n" and following == "  "):
        return char
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Continue without a reader."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show(text: str) -> None:
    """Print a line on stdout."""
    _print(_console(), Text(plain(text)))


def tell(text: str) -> None:
    """Print a line on stderr."""
    try:
        with above_block(sys.stderr):
            print(plain(text), file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return  # nobody reads, or the stream is closed, and the exit code still tells


def show_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[int] = (),
    whole: Sequence[int] = (0,),
    title: str | None = None,
) -> None:
    """Print columns of plain text on stdout, wider than the terminal if whole columns need it.

    Args:
        columns: headings; none are shown if all are empty.
        rows: texts of each row, in the order of the columns.
        right: numbers of right-aligned columns.
        whole: numbers of columns that are never wrapped.
        title: a line above.
    """
    if title:
        show(title)
    table = Table(box=None, show_header=any(columns))
    for number, column in enumerate(columns):
        justify: Literal["left", "right"] = "right" if number in right else "left"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=number in whole)
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console = _console()
    least = Measurement.get(console, console.options.update(max_width=_WIDEST), table).minimum
    console.width = max(console.width, least)
    _print(console, table)


JSON_SCHEMA = 1
"""Version of `umlite/commands/output_schema.json`, which every JSON object names."""


def show_json(data: dict[str, Any]) -> None:
    """Print one JSON object on stdout, with the version of its schema."""
    _print(_console(), Text(json.dumps({"schema": JSON_SCHEMA, **data}, indent=2, allow_nan=False)))


def lost_output() -> str:
    """Why lines on stdout were lost, for a person; empty where none was, or where a reader went away."""
    return f"The output could not be written: {_lost[0].strerror or _lost[0]}." if _lost else ""


def confirmed(question: str) -> bool:
    """Ask once on the terminal. Without a terminal the answer is no."""
    import typer

    return sys.stdin is not None and sys.stdin.isatty() and typer.confirm(question, err=True)


@contextmanager
def window_bars(silent: bool) -> Iterator[Callable[[str], Progress]]:
    """Give a function that starts a scan's progress: a bar on a terminal, else lines now and then, on stderr."""
    if silent:
        yield lambda _name: no_progress
        return
    if not can_draw(sys.stderr):
        yield _progress_lines
        return
    bars: list[Bar] = []
    with Block(lambda _width: [bar.line() for bar in bars[-1:]], sys.stderr):

        def start(name: str) -> Progress:
            bars[:] = [Bar(name)]
            return bars[0].update

        yield start


class Bar:
    """A line about a scan whose windows run. name: of the scan."""

    def __init__(self, name: str) -> None:
        self.name, self.done, self.total = name, 0, 0
        self._start = time.monotonic()

    def update(self, done: int, total: int) -> None:
        """Note windows done and all windows, as a `Progress` does."""
        self.done, self.total = done, total

    def line(self) -> str:
        """A bar, the windows, the time, and the name last, where it may be cut."""
        seconds = time.monotonic() - self._start
        if not self.total:
            return f"{duration(seconds)}  {plain(self.name)}"
        full = _BAR * self.done // self.total
        left = seconds / self.done * (self.total - self.done) if self.done else 0
        time_left = f", about {duration(left)} left" if left else f", {duration(seconds)}"
        bar = f"[{'#' * full}{'.' * (_BAR - full)}]"
        return f"{bar} {self.done} of {self.total} windows{time_left}  {plain(self.name)}"


def duration(seconds: float) -> str:
    """A time for a person."""
    minutes = seconds / 60
    if minutes < 2:
        return f"{seconds:.0f} s"
    if minutes < 120:
        return f"{minutes:.0f} min"
    hours = round(minutes / 60)
    return f"{hours} h" if hours < 72 else f"{hours / 24:.1f} days"


def _progress_lines(name: str) -> Progress:
    """Lines for a log: when a scan starts, and one every few minutes."""
    start = last = time.monotonic()
    tell(f"{time.strftime('%H:%M:%S')} {name}: started")

    def update(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= EVERY_S and 0 < done < total:
            last = now
            left = (now - start) / done * (total - done)
            tell(f"{time.strftime('%H:%M:%S')} {name}: {done} of {total} windows, about {left / 60:.0f} min left")

    return update


@contextmanager
def download_bar(silent: bool) -> Iterator[Callable[[int, int], None]]:
    """Give a function that shows the number of bytes done and of all bytes, on stderr."""
    from rich import progress as rich

    columns = (rich.TextColumn("downloading"), rich.BarColumn(), rich.DownloadColumn(), rich.TransferSpeedColumn())
    with rich.Progress(*columns, console=Console(stderr=True), disable=silent) as bars:
        task = bars.add_task("", total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _print(console: Console, what: Text | Table) -> None:
    try:
        with above_block(sys.stdout):
            console.print(what, soft_wrap=isinstance(what, Text))
    except OSError as error:  # a full disk under a log must not cost results
        _lost.append(error)


def _console() -> Console:
    """A console that shows text unchanged, and is wide if no terminal sets its width."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return _Console(width=width, emoji=False, markup=False, highlight=False)
