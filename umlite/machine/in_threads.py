"""The same work on many items, on several threads if the system lets them start."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_LOOK_S = 0.1
"""Longest wait. A signal that comes right before a wait does not end it, and Python sees it only when the wait ends."""


def in_threads(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int,
    interrupt: Callable[[], None] = lambda: None,
) -> list[Result]:
    """The results of `work` for each item, in order.

    Args:
        work: may be done twice for an item if a limit lets no thread start.
        items: what to work on.
        threads: how many threads.
        interrupt: makes running work end soon; called when this call is interrupted, which then waits for the work.
    """
    items = list(items)
    if threads > 1 and len(items) > 1:
        try:
            with ThreadPoolExecutor(min(threads, len(items))) as pool:
                try:
                    return [_result(future) for future in [pool.submit(work, item) for item in items]]
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    interrupt()
                    raise
        except RuntimeError as error:
            if "start new thread" not in str(error):
                raise
    return [work(item) for item in items]


def _result(future: Future[Result]) -> Result:
    while not wait([future], _LOOK_S).done:
        pass
    return future.result()
