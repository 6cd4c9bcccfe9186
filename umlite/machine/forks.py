"""What survives a fork.

OpenMP's threads do not: a child that gives them work waits for ever, in torch's operations and in the C kernels alike.
Work on one thread does not need them. So a process that was forked after several threads ran uses one.
"""

from __future__ import annotations

import os
import threading
from types import TracebackType
from weakref import WeakSet

ONE_IS_LEFT = "this process was forked from one whose threads had run, and they do not survive a fork"

_several_ran = False
_lost = False


def note_threads(count: int) -> None:
    """Note that work begins on `count` threads. Processes forked from now on have lost them."""
    global _several_ran
    _several_ran = _several_ran or count > 1


def lost_threads() -> bool:
    """Whether several threads ran in a process that this one was forked from."""
    return _lost


class Lock:
    """A reentrant lock that is free in a forked child, even if another thread held it in the parent."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Free the lock in a child, where no thread exists that could release it."""
        self._lock = threading.RLock()


_locks: WeakSet[Lock] = WeakSet()


def _after_fork_in_child() -> None:
    global _lost
    for lock in list(_locks):
        lock.renew()
    if _several_ran:
        import torch

        _lost = True
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
