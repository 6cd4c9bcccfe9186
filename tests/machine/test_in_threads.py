"""Work on several threads, or on this one where the system lets no other start."""

from __future__ import annotations

import threading

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
