"""An interruption at a line that is chosen, whatever that line does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from types import FrameType
from typing import Any


def lines_of(work: Callable[[], object], files: Collection[str]) -> int:
    """How many lines of these files `work` runs."""
    return _traced(work, files, 0)


def interrupted_at(moment: int, work: Callable[[], object], files: Collection[str]) -> bool:
    """Run `work`, raising KeyboardInterrupt before its line of this number, from 1. Whether it came out of `work`."""
    try:
        _traced(work, files, moment)
    except KeyboardInterrupt:
        return True
    return False


def _traced(work: Callable[[], object], files: Collection[str], moment: int) -> int:
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            count += 1
            if count == moment:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
    return count
