"""How a run over windows tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]  # windows done, windows in all


def no_progress(_done: int, _total: int) -> None:
    """Report nothing."""
