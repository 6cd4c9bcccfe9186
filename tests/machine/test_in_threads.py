"""Work on several threads, or on this one where the system lets no other start."""

from __future__ import annotations

import _thread
import sys
import threading
import traceback

import pytest

from umlite.machine.in_threads import in_threads


@pytest.mark.parametrize("threads", [1, 3, 100])
def test_results_are_in_order(threads: int) -> None:
    assert in_threads(lambda n: n * n, range(20), threads) == [n * n for n in range(20)]
    assert in_threads(len, [], threads) == []


def test_where_no_thread_can_start(monkeypatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert in_threads(str, [1, 2, 3], 2) == ["1", "2", "3"]


def test_errors_come_through_and_interrupt_the_rest() -> None:
    ended = threading.Event()

    def work(number: int) -> None:
        if number == 0:
            raise KeyboardInterrupt
        ended.wait()

    with pytest.raises(KeyboardInterrupt):
        in_threads(work, range(3), 3, ended.set)
    with pytest.raises(RuntimeError, match="of another kind"):
        in_threads(lambda _: (_ for _ in ()).throw(RuntimeError("of another kind")), range(3), 2)


def test_an_interrupt_that_wakes_no_wait() -> None:
    """One that comes between Python's last look at signals and the wait behind it."""
    begun, ended, main = threading.Event(), threading.Event(), threading.main_thread().ident
    in_time: list[bool] = []

    def waits_for_results() -> bool:
        names = {frame.f_code.co_name for frame, _ in traceback.walk_stack(sys._current_frames()[main])}
        return "wait" in names and "start" not in names

    def work(number: int) -> None:
        if number == 0:
            assert begun.wait(30)
            while not waits_for_results():
                pass
            _thread.interrupt_main()
        begun.set()
        in_time.append(ended.wait(30))

    with pytest.raises(KeyboardInterrupt):
        in_threads(work, range(2), 2, ended.set)
    assert in_time == [True, True]
