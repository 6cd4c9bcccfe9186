"""Text, tables, progress and JSON on the terminal. A reader that goes away never stops the computation."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from umlite.progress import Progress

PIPE_WIDTH = 160


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Continue without a reader."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show(text: str) -> None:
    """Print a line on stdout."""
    _console().print(Text(text), soft_wrap=True)


def tell(text: str) -> None:
    """Print a line on stderr."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        return  # nobody reads, and the exit code still tells


def show_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[int] = (),
    whole: Sequence[int] = (0,),
    title: str | None = None,
) -> None:
    """Print columns of plain text on stdout.

    Args:
        columns: headings; none are shown if all are empty.
        rows: texts of each row, in the order of the columns.
        right: numbers of right-aligned columns.
        whole: numbers of columns that are never wrapped.
        title: a line above.
    """
    table = Table(title=title and Text(title), box=None, title_justify="left", show_header=any(columns))
    for number, column in enumerate(columns):
        justify: Literal["left", "right"] = "right" if number in right else "left"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=number in whole)
    for row in rows:
        table.add_row(*map(Text, row))
    _console().print(table)


def show_json(data: dict[str, Any]) -> None:
    """Print one JSON object on stdout."""
    _console().print(Text(json.dumps(data, indent=2, allow_nan=False)), soft_wrap=True)


def confirmed(question: str) -> bool:
    """Ask once on the terminal. Without a terminal the answer is no."""
    import typer

    return sys.stdin is not None and sys.stdin.isatty() and typer.confirm(question, err=True)


@contextmanager
def window_bars(silent: bool) -> Iterator[Callable[[str], Progress]]:
    """Give a function that starts a progress bar for a scan in place of the last one, on stderr if it is a terminal."""
    from rich import progress as rich

    console = Console(stderr=True, emoji=False)
    with rich.Progress(
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn("windows"),
        rich.TimeElapsedColumn(),
        rich.TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
        disable=silent or not console.is_terminal,
    ) as bars:

        def start(name: str) -> Progress:
            for task in bars.task_ids:
                bars.remove_task(task)
            current = bars.add_task(name, total=None)
            return lambda done, total: bars.update(current, completed=done, total=total)

        yield start


@contextmanager
def download_bar(silent: bool) -> Iterator[Callable[[int, int], None]]:
    """Give a function that shows the number of bytes done and of all bytes, on stderr."""
    from rich import progress as rich

    columns = (rich.TextColumn("downloading"), rich.BarColumn(), rich.DownloadColumn(), rich.TransferSpeedColumn())
    with rich.Progress(*columns, console=Console(stderr=True), disable=silent) as bars:
        task = bars.add_task("", total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _console() -> Console:
    """A console that shows text unchanged, and is wide if no terminal sets its width."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return _Console(width=width, emoji=False, markup=False, highlight=False)
