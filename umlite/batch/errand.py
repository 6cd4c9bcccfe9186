"""What a process of a batch does: the jobs that it is sent, with its share of cores and memory."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from umlite.batch.interruptions import INTERRUPTIONS
from umlite.batch.jobs import Job
from umlite.batch.model import Model
from umlite.batch.orders import Orders
from umlite.batch.overlap import Overlap
from umlite.batch.run import Watcher, run_overlapped
from umlite.batch.steps import Steps
from umlite.batch.told import said_of, told
from umlite.engines.options import EngineOptions
from umlite.progress import Progress

if TYPE_CHECKING:
    from umlite.api import Segmenter
    from umlite.cost.forecast import Forecast

WANT, LOADED, MOVED, TOLD, AGAIN, SAID, FAILED = "want", "loaded", "moved", "told", "again", "said", "failed"
"""What a process says: it wants a job, has its network, computes, is done with a scan, was refused memory for one while
it had others, has a sentence, cannot go on."""
JOB, STOP = "job", "stop"
"""What it is told: a job (None for the end), or to write what is computed and end."""
_EVERY_S = 1.0


@dataclass(frozen=True)
class Errand:
    """All that a process needs to know before its first job. It can be pickled.

    Args:
        weights, packs: files.
        options: how to compute, with this process's share of threads and memory.
        orders: what is asked of every scan.
        scans: real paths of files that must stay.
        load: loads the segmenter of some options.
        forecast: makes what predicts each scan's cost from options and segmenter.
    """

    weights: Path
    packs: tuple[Path, ...]
    options: EngineOptions
    orders: Orders
    scans: frozenset[str]
    load: Callable[[EngineOptions], Segmenter]
    forecast: Callable[[EngineOptions, Segmenter], Forecast]


class _Wire:
    """A connection that several threads write to."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()

    def send(self, kind: str, value: Any = None) -> None:
        with self._lock, contextlib.suppress(OSError):  # without a reader this process ends, by its other thread
            self._connection.send((kind, value))


def work(errand: Errand, connection: Connection) -> None:
    """The life of a process: until there are no jobs, it is stopped, or the process that began it is gone."""
    for number in INTERRUPTIONS:
        signal.signal(number, signal.SIG_IGN)  # they reach the process that began this one, which says what to do
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTIONS)  # blocked while this process started
    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR1, all_threads=True)
    wire, jobs, running = _Wire(connection), SimpleQueue[Job | None](), list[Overlap[Any]]()
    threading.Thread(target=_listen, args=(connection, jobs, running), daemon=True).start()

    def load() -> Segmenter:
        segmenter = errand.load(errand.options)
        wire.send(LOADED)
        return segmenter

    def say(sentence: str) -> None:
        wire.send(SAID, sentence)

    def wanted() -> Iterator[Job]:
        while True:
            wire.send(WANT)
            if (job := jobs.get()) is None:
                return
            yield job

    code = 0
    try:
        model = Model(errand.weights, errand.options, load, packs=errand.packs)
        outcomes = run_overlapped(
            model,
            wanted(),
            Steps(model, errand.orders, errand.scans),
            errand.orders,
            say=told,
            forecast_of=lambda segmenter: errand.forecast(errand.options, segmenter),
            watcher=Watcher(partial(_now_and_then, wire), say),
            started=running.append,
            again=lambda job: wire.send(AGAIN, job),
        )
        for one in outcomes:
            wire.send(TOLD, one)
    except Exception as error:
        wire.send(FAILED, said_of(error))
        code = 1
    connection.close()
    os._exit(code)  # threads that read ahead need not end


def _listen(connection: Connection, jobs: SimpleQueue[Job | None], running: list[Overlap[Any]]) -> None:
    while True:
        try:
            kind, value = connection.recv()
        except BaseException:  # a refusal of memory too: this process would wait for ever for what it has not heard
            os._exit(1)  # what is not written is computed again
        if kind == STOP:
            for overlap in running:
                overlap.stop()
            jobs.put(None)
        else:
            jobs.put(value)


def _now_and_then(wire: _Wire, name: str) -> Progress:
    """Say how far a scan is, but not for every window."""
    last = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > _EVERY_S or done == total:
            last = time.monotonic()
            wire.send(MOVED, (name, done, total))

    return progress
