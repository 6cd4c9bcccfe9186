"""What a run of several scans shows on a terminal while it goes on: counts, pace, time left, a line per process."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager

from umlite.batch.run import Watcher
from umlite.block import Block, can_draw
from umlite.commands.tally import Tally
from umlite.progress import Progress
from umlite.terminal import Bar, duration, tell, window_bars

_LEAST_SHARE = 0.25
"""Of a scan has run before the time left is predicted."""


@contextmanager
def shown(tally: Tally) -> Iterator[Watcher]:
    """What looks on while the scans of a run are computed, and shows on stderr how far they are."""
    if tally.silent or tally.count < 2 or not can_draw(sys.stderr):
        with window_bars(tally.silent) as progress_of:
            yield Watcher(progress_of, tell)
        return
    live = Live(tally)
    with Block(live.lines, sys.stderr):
        yield Watcher(live.progress_of, tell, live.at_work)


class Live:
    """The lines of a run. tally: counts its scans."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._bars: dict[int, Bar] = {}
        self._begun: tuple[float, int] | None = None

    def progress_of(self, name: str) -> Progress:
        """The progress of a scan whose windows run in this process."""
        return lambda done, total: self.at_work(0, name, done, total)

    def at_work(self, process: int, name: str, done: int, total: int) -> None:
        """Note what a process does, as a `Watcher` is told."""
        if total and self._begun is None:
            self._begun = time.monotonic(), self._computed
        bar = self._bars.get(process)
        if bar is None or bar.name != name or done < bar.done:
            bar = self._bars[process] = Bar(name)
        bar.update(done, total)

    def lines(self, width: int) -> list[str]:
        """The lines of this moment."""
        bars = dict(self._bars)
        first = f"{self._tally.standing()}{self._time_left([*bars.values()])}"
        numbers = [f"{process}  " if process else "" for process in bars]
        return [
            *textwrap.wrap(first, max(width, 20)),
            *(f"{n}{bar.line()}" for n, bar in zip(numbers, bars.values(), strict=True)),
        ]

    @property
    def _computed(self) -> int:
        return self._tally.done - self._tally.copied + self._tally.failed

    def _time_left(self, bars: list[Bar]) -> str:
        """Of the scans so far, as a share of those that are left; some of these may turn out to be done before."""
        if self._begun is None:
            return ""
        start, before = self._begun
        under_way = sum(bar.done / bar.total for bar in bars if bar.done < bar.total)
        computed = self._computed - before + under_way
        tally = self._tally
        left = tally.count - tally.done - tally.failed - tally.skipped - under_way
        if computed < _LEAST_SHARE or left <= 0:
            return ""
        return f", about {duration((time.monotonic() - start) / computed * left)} left"
