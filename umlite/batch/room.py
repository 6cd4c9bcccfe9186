"""Room for several scans in memory at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

AHEAD = 3
"""Scans in memory at once: one that is prepared, one whose windows run, one that is written."""


class Room:
    """Lets a scan in when it fits beside those that are in, or when none is.

    Args:
        fits: whether so many bytes of scans, all of them together, fit. One alone is let in whatever it takes.
    """

    def __init__(self, fits: Callable[[int], bool]) -> None:
        self._fits = fits
        self._changed = threading.Condition()
        self._sizes: list[int] = []
        self._closed = False

    def enter(self, size: int) -> bool:
        """Wait until a scan of `size` bytes fits. False: the room was closed meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._has_place(size))
            if not self._closed:
                self._sizes.append(size)
            return not self._closed

    def leave(self, size: int) -> None:
        """A scan is gone."""
        with self._changed:
            self._sizes.remove(size)
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody in any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def is_shared(self) -> bool:
        """Whether more than one scan is in."""
        with self._changed:
            return len(self._sizes) > 1

    def _has_place(self, size: int) -> bool:
        return not self._sizes or (len(self._sizes) < AHEAD and self._fits(sum(self._sizes) + size))
