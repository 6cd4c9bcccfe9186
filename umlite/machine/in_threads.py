"""The same work on many things, on several threads where the system lets them start."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int,
    interrupt: Callable[[], None] = lambda: None,
) -> list[Result]:
    """What `work` makes of each item, in their order. Work may be done twice where a limit lets no thread start.

    interrupt: has work that is going on end soon; called when this call is interrupted, which then waits for it.
    """
    items = list(items)
    if threads > 1 and len(items) > 1:
        try:
            with ThreadPoolExecutor(min(threads, len(items))) as pool:
                try:
                    return list(pool.map(work, items))
                except BaseException:
                    interrupt()
                    raise
        except RuntimeError as error:
            if "start new thread" not in str(error):
                raise
    return [work(item) for item in items]
