"""How a run tells its caller what it does."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Gets the windows done and the windows in all."""
Notify = Callable[[str], None]
"""Gets a sentence for a person: what takes long, or what was decided on the way."""


def no_progress(_done: int, _total: int) -> None:
    """Report nothing."""


def no_notice(_sentence: str) -> None:
    """Tell nobody."""


def once(notify: Notify) -> Notify:
    """Tell each sentence the first time it comes."""
    told: set[str] = set()

    def tell(sentence: str) -> None:
        if sentence not in told:
            told.add(sentence)
            notify(sentence)

    return tell
