"""How a run reports to its caller."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int], None]
"""Called with the number of windows done and the number of all windows."""
Notify = Callable[[str], None]
"""Called with a sentence for a person: what takes long, or what was decided on the way."""


def no_progress(_done: int, _total: int) -> None:
    """A `Progress` that reports nothing."""


def no_notice(_sentence: str) -> None:
    """A `Notify` that tells nobody."""


def once(notify: Notify) -> Notify:
    """Tell each sentence the first time it comes."""
    told: set[str] = set()

    def tell(sentence: str) -> None:
        if sentence not in told:
            told.add(sentence)
            notify(sentence)

    return tell


class Stopwatch:
    """Seconds of the steps of a run, by name: `with watch("read"): ...`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[step] = time.perf_counter() - start
