"""A batch in several processes: each gets the next job when it wants one. A process that dies is replaced.

Its scans are tried once more, each alone, so that the one to blame is found; a scan that ends its process twice is set
aside. A scan that takes longer than it may, or does not move, is given up with its process.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from umlite.batch import errand as says
from umlite.batch.errand import Errand, work
from umlite.batch.interruptions import signals_wait
from umlite.batch.jobs import Job
from umlite.batch.overlap import INTERRUPTED, STUCK_S
from umlite.batch.run import Watcher
from umlite.batch.shares import shares
from umlite.batch.told import Told
from umlite.errors import DeviceError, GivenUpError

_LOOK_S = 0.5
_STACKS_S = 1.0
_END_S = 60.0
_MOST_FALSE_STARTS = 2
_MOST_AT_ONCE = 64


@dataclass(frozen=True)
class CrewOptions:
    """How a batch is spread over processes.

    Args:
        workers: number of processes.
        scan_timeout_s: seconds that a scan may take, from its turn to its files; None for any.
    """

    workers: int = 1
    scan_timeout_s: float | None = None


@dataclass
class _Worker:
    """A process with the jobs that it was given and has not ended, in the order in which it got them.

    number: from 1. since: when its present scan had its turn. heard: when it last said anything.
    """

    number: int
    process: BaseProcess
    connection: Connection
    given: dict[str, Job] = field(default_factory=dict)
    wants: int = 0
    is_loaded: bool = False
    is_alone: bool = False
    since: float = 0.0
    heard: float = field(default_factory=time.monotonic)


class Crew:
    """Processes that share the jobs of a batch.

    Args:
        errand: what each of them does, with the options of the whole run.
        options: how many they are, and how long a scan may take.
        done: the report of a job that needs none of them; else None.
        watcher: looks on.
    """

    def __init__(
        self, errand: Errand, options: CrewOptions, done: Callable[[Job], Told | None], watcher: Watcher = Watcher()
    ) -> None:
        self._errand, self._options, self._done = errand, options, done
        self._notify, self._at_work = watcher.notify, watcher.at_work
        self._shares = shares(errand.options, options.workers)
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._told: deque[Told] = deque()
        self._alone: deque[Job] = deque()
        self._again: deque[Job] = deque()
        self._blamed: set[str] = set()
        self._false_starts = 0
        self._is_exhausted = False

    def run(self, jobs: Iterator[Job]) -> Generator[Told, None, None]:
        """A report of each job as it ends. When interrupted, what is computed is written and told first.

        Raises:
            UmliteError: no process can load the network.
        """
        while not self._again and not self._is_exhausted:
            self._fetch(jobs)
            yield from self._drained()
        if not self._again:
            return
        try:
            self._workers = [self._started(number) for number in range(1, len(self._shares) + 1)]
            while self._is_busy(jobs):
                self._turn(jobs)
                yield from self._drained()
        except KeyboardInterrupt:
            self._notify(INTERRUPTED)
            for worker in self._workers:
                self._send(worker, says.STOP)
            while self._workers:
                self._listen(replace_dead=False)
                yield from self._drained()
            raise
        finally:
            for worker in self._workers:
                worker.process.kill()
                worker.process.join()

    def _drained(self) -> Iterator[Told]:
        while self._told:
            yield self._told.popleft()

    def _is_busy(self, jobs: Iterator[Job]) -> bool:
        """Whether any job is left, waiting or under way. At the end the processes are sent home."""
        if any(worker.given for worker in self._workers) or self._alone or self._again:
            return True
        self._fetch(jobs)
        if self._again or not self._is_exhausted:
            return True
        for worker in self._workers:
            self._send(worker, says.JOB, None)
        for worker in self._workers:
            worker.process.join(_END_S)
        return False

    def _turn(self, jobs: Iterator[Job]) -> None:
        for worker in self._workers:
            while worker.wants and (job := self._job_for(worker, jobs)) is not None:
                worker.since = worker.since if worker.given else time.monotonic()
                worker.given[str(job.output)] = job
                worker.wants -= 1
                self._send(worker, says.JOB, job)
        self._listen()
        for worker in list(self._workers):
            if worker.given and (why := self._is_stuck(worker)):
                self._give_up(worker, why)

    def _is_stuck(self, worker: _Worker) -> str:
        """Why a process is to be given up; empty where it is not."""
        limit, now = self._options.scan_timeout_s, time.monotonic()
        if limit and worker.is_loaded and now - worker.since > limit:
            return f"took longer than {limit:g} s"
        return f"did not move for {STUCK_S / 60:.0f} minutes" if now - worker.heard > STUCK_S else ""

    def _job_for(self, worker: _Worker, jobs: Iterator[Job]) -> Job | None:
        if worker.is_alone and worker.given:
            return None
        worker.is_alone = False
        if self._alone and not worker.given:
            worker.is_alone = True
            return self._alone.popleft()
        if not self._again:
            self._fetch(jobs)
        return self._again.popleft() if self._again else None

    def _fetch(self, jobs: Iterator[Job]) -> None:
        """Take the next job that has to be computed; after some that have not, come back to it."""
        for _ in range(_MOST_AT_ONCE):
            if (job := next(jobs, None)) is None:
                self._is_exhausted = True
                return
            if (told := self._done(job)) is None:
                self._again.append(job)
                return
            self._told.append(told)

    def _listen(self, *, replace_dead: bool = True) -> None:
        by_end = {worker.connection: worker for worker in self._workers}
        for end in wait(list(by_end), timeout=_LOOK_S):
            worker = by_end[end]  # type: ignore[index]
            try:
                kind, value = worker.connection.recv()
            except (EOFError, OSError):
                self._bury(worker, replace_dead=replace_dead)
                continue
            worker.heard = time.monotonic()
            if kind == says.FAILED:
                self._dismiss(worker, value, go_on=replace_dead)
            else:
                self._hear(worker, kind, value)

    def _hear(self, worker: _Worker, kind: str, value: Any) -> None:
        if kind == says.WANT:
            worker.wants += 1
        elif kind == says.LOADED:
            worker.is_loaded, worker.since = True, time.monotonic()
            self._at_work(worker.number, "reading", 0, 0)
            self._false_starts = 0
        elif kind == says.TOLD:
            worker.given.pop(str(value.job.output), None)
            worker.since = time.monotonic()
            self._told.append(value)
            if not worker.given:
                self._at_work(worker.number, "waiting", 0, 0)
        elif kind == says.MOVED:
            self._at_work(worker.number, *value)
        elif kind == says.AGAIN:
            del worker.given[str(value.output)]
            self._alone.append(value)
        elif kind == says.SAID:
            self._notify(value)

    def _dismiss(self, worker: _Worker, error: Exception, *, go_on: bool) -> None:
        """Do without a process that cannot go on. Raises its error where it was the last one, if the run goes on."""
        self._workers.remove(worker)
        self._at_work(worker.number, "ended", 0, 0)
        self._again.extend(worker.given.values())
        worker.process.join(_END_S)
        worker.process.kill()
        if not go_on:
            return
        if not self._workers:
            raise error
        self._notify(f"A process cannot go on: {error} The others do its part.")

    def _bury(self, worker: _Worker, *, replace_dead: bool) -> None:
        """See to the jobs of a process that ended, and put another in its place."""
        worker.process.join()
        at = self._workers.index(worker)
        del self._workers[at]
        if not replace_dead:
            return
        code = worker.process.exitcode
        why = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        if not worker.is_loaded:
            self._false_starts += 1
            if self._false_starts > _MOST_FALSE_STARTS:
                raise DeviceError(
                    f"The processes of this run end before they can begin ({why}), most likely for lack of memory. "
                    "Start fewer of them, or allow them more.",
                    about=("workers", "max_ram"),
                )
        for name, job in worker.given.items():
            if name in self._blamed:
                self._set_aside(job, f"The process that computed it ended twice ({why}). It was set aside.", "workers")
            else:
                self._blamed.add(name)
                self._alone.append(job)
        if worker.given:
            self._notify(f"A process ended ({why}) and is replaced; its {len(worker.given)} scans are tried again.")
        self._workers.insert(at, self._started(worker.number))

    def _give_up(self, worker: _Worker, why: str) -> None:
        """End a process that is stuck with a scan; its other scans are computed by the next one."""
        job, *others = worker.given.values()
        self._notify(f"{job.scan} {why}. This is where its process stands:")
        if hasattr(signal, "SIGUSR1") and worker.process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(worker.process.pid, signal.SIGUSR1)
            worker.process.join(_STACKS_S)
        worker.process.kill()
        worker.given.clear()
        sentence = f"It {why} and was given up. Allow more, or look at the scan."
        self._set_aside(job, sentence, "scan_timeout")
        self._again.extend(others)

    def _set_aside(self, job: Job, sentence: str, about: str) -> None:
        self._told.append(Told(job, error=GivenUpError(sentence, about=about)))

    def _started(self, number: int) -> _Worker:
        self._at_work(number, "loading the network", 0, 0)
        ours, theirs = self._context.Pipe()
        errand = replace(self._errand, options=self._shares[number - 1])
        process = self._context.Process(target=work, args=(errand, theirs), daemon=True)
        try:
            with signals_wait():
                process.start()
        except OSError as error:
            raise DeviceError(
                f"The system refuses another process ({error.strerror or error}). Start fewer of them.", about="workers"
            ) from error
        theirs.close()
        return _Worker(number, process, ours)

    def _send(self, worker: _Worker, kind: str, value: Any = None) -> None:
        with suppress(OSError):  # it is dead, which its connection tells next
            worker.connection.send((kind, value))
