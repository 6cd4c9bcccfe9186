"""Importing many modules at the start of a command."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import in this block without searches for unused objects, then leave what was imported out of later ones.

    Modules stay until the process ends, but Python would look through all of them again and again. For a process of
    umlite's own, because it concerns all objects of the process.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
