"""Three scans at once: the next is read and prepared and the last is written while the windows of one run.

Each step has a thread. Scans pass from one to the next in order, so outcomes come in the order of the jobs; a scan is
read only when there is room for it. The caller's thread only waits, so that an interruption reaches it at once.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from umlite.batch.containing import contained
from umlite.batch.jobs import Job
from umlite.batch.outcome import Outcome
from umlite.batch.room import Room
from umlite.batch.steps import Answered, Ready, Steps
from umlite.errors import DeviceError
from umlite.progress import Notify, Progress, no_notice, no_progress

if TYPE_CHECKING:
    from umlite.cost.forecast import Forecast

Said = TypeVar("Said")
STUCK_S = 1800.0
"""Without any window or step ending, the stacks of all threads are shown."""
INTERRUPTED = "What is computed is written before the run ends. A second signal ends it at once."
_LOOK_S = 0.5
_GRACE_S = 5.0
_WAITING = 4


@dataclass(frozen=True)
class Course(Generic[Said]):
    """How scans are run.

    Args:
        steps: what is done to each.
        room: for scans in memory.
        size_of: bytes that a job's scan takes at most.
        say: what becomes of an outcome. It runs beside other scans, so masks need not wait for the caller.
        progress_of: makes a scan's `Progress` from its name.
        forecast: predicts the cost of each scan and refuses those that are too large.
        notify: gets a sentence when nothing moves.
        again: gets a job whose scan was refused memory while others were there; None has it tried after the last one.
    """

    steps: Steps
    room: Room
    size_of: Callable[[Job], int]
    say: Callable[[Outcome], Said]
    progress_of: Callable[[str], Progress] = lambda _name: no_progress
    forecast: Forecast | None = None
    notify: Notify = no_notice
    again: Callable[[Job], None] | None = None


class _Stopped(BaseException):
    """The run ends: windows that are under way are given up."""


@dataclass(frozen=True)
class _Again:
    """A scan that was refused memory while others were there."""

    job: Job


class Overlap(Generic[Said]):
    """Runs jobs, three at a time. For one run only."""

    def __init__(self, course: Course[Said]) -> None:
        self._course, self._steps, self._room = course, course.steps, course.room
        self._stop = threading.Event()
        self._moved = time.monotonic()
        self._is_written = threading.Event()
        self._is_written.set()

    def run(self, jobs: Iterator[Job]) -> Iterator[Said]:
        """Outcomes in the order of the jobs; scans that were refused memory come last, and alone.

        When it is interrupted, scans whose windows have run are written and given first. A second interruption ends
        that.
        """
        prepared: Queue[Any] = Queue(_WAITING)
        decided: Queue[Any] = Queue(_WAITING)
        ended: Queue[Any] = Queue()
        again: list[Job] = []
        steps = (("prepare", self._prepare, jobs, prepared), ("windows", self._decide, prepared, decided))
        threads = [
            threading.Thread(
                target=self._guarded, args=(work, before, after, ended), daemon=True, name=f"umlite-{name}"
            )
            for name, work, before, after in (*steps, ("write", self._finish, decided, ended))
        ]
        if not _all_start(reversed(threads)):  # the one that takes jobs comes last
            self.stop()
            yield from self._one_by_one(jobs)
            return
        try:
            yield from self._outcomes(ended, again)
            for job in again:
                yield self._course.say(contained(self._alone, job))
        except KeyboardInterrupt:
            self._course.notify(INTERRUPTED)
            self.stop()
            yield from self._outcomes(ended, again)
            threads[0].join(_GRACE_S)  # it may be about to try whether a folder can be written
            raise
        finally:
            if not self._stop.is_set():
                self.stop()
                threads[-1].join()

    def _one_by_one(self, jobs: Iterator[Job]) -> Iterator[Said]:
        """What a system that refuses threads allows."""
        for job in jobs:
            outcome = contained(self._steps.skipped, job)
            yield self._course.say(contained(self._alone, job) if outcome is None else outcome)

    def stop(self) -> None:
        """End the run: nothing is read or computed any more, what is computed is written."""
        self._stop.set()
        self._room.close()

    def _outcomes(self, ended: Queue[Any], again: list[Job]) -> Iterator[Said]:
        while True:
            try:
                item = ended.get(timeout=_LOOK_S)
            except Empty:
                self._watch()
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            if isinstance(item, _Again):
                (self._course.again or again.append)(item.job)
            else:
                yield item
            del item

    def _prepare(self, jobs: Iterator[Job], after: Queue[Any]) -> None:
        for job in jobs:
            if self._stop.is_set():
                break
            value: Any = contained(self._steps.skipped, job)
            size = None
            if value is None:
                size = self._course.size_of(job)
                if not self._room.enter(size):
                    break
                value = contained(self._steps.prepare, job, self._course.forecast)
            self._put(after, *self._checked(job, value, size))
            del value
        self._put(after, None, None)

    def _decide(self, before: Queue[Any], after: Queue[Any]) -> None:
        while (item := self._get(before)) is not None:
            value, size = item
            del item
            if isinstance(value, Ready):
                job = value.job
                value, size = self._checked(job, contained(self._windows, value.job, value), size)
                if isinstance(value, Answered):
                    self._is_written.clear()
            self._put(after, value, size)
            del value
        self._put(after, None, None)

    def _finish(self, before: Queue[Any], after: Queue[Any]) -> None:
        while (item := self._get(before, to_the_end=True)) is not None:
            value, size = item
            del item
            if isinstance(value, Answered):
                value, size = self._checked(value.job, contained(self._written, value.job, value), size, leave=False)
                self._is_written.set()
            after.put(value if isinstance(value, _Again) else self._course.say(value))
            del value
            if size is not None:
                self._room.leave(size)
            self._moved = time.monotonic()
        after.put(None)

    def _windows(self, job: Job, ready: Ready) -> Answered:
        inner = self._course.progress_of(job.scan.name)
        batch = self._steps.batch

        def progress(done: int, total: int) -> None:
            if self._stop.is_set():
                raise _Stopped
            self._moved = time.monotonic()
            inner(done, total)
            if total - done <= batch:
                self._wait_for_writing()

        if ready.predicted is None or ready.predicted.windows <= batch:
            self._wait_for_writing()
        return self._steps.decide(ready, progress, lambda: not self._room.is_shared)

    def _wait_for_writing(self) -> None:
        """Wait until the scan before is written, so that a kill costs no more than one computed result."""
        while not self._is_written.wait(_LOOK_S):
            if self._stop.is_set():
                raise _Stopped

    def _written(self, _job: Job, answered: Answered) -> Outcome:
        return self._steps.finish(answered)

    def _alone(self, job: Job) -> Outcome:
        return self._steps.run(job, self._course.forecast, self._course.progress_of(job.scan.name))

    def _checked(self, job: Job, value: Any, size: int | None, *, leave: bool = True) -> tuple[Any, int | None]:
        """What goes on to the next step, and the bytes that it still holds. A refusal of memory may be tried again."""
        self._moved = time.monotonic()
        if not isinstance(value, Outcome):
            return value, size
        if isinstance(value.error, DeviceError) and self._room.is_shared:
            value = _Again(job)
        if leave and size is not None:
            self._room.leave(size)
            size = None
        return value, size

    def _put(self, queue: Queue[Any], value: Any, size: int | None) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(Full):
                queue.put(None if value is None else (value, size), timeout=_LOOK_S)
                return

    def _get(self, queue: Queue[Any], *, to_the_end: bool = False) -> Any:
        """The next item; None at the end, and when the run was stopped, with `to_the_end` not before it is empty."""
        while True:
            if self._stop.is_set() and not (to_the_end and not queue.empty()):
                return None
            with contextlib.suppress(Empty):
                return queue.get(timeout=_LOOK_S)

    def _guarded(self, work: Callable[..., None], before: Any, after: Any, ended: Queue[Any]) -> None:
        """Run a step's thread; what it cannot contain ends the run."""
        try:
            work(before, after)
        except _Stopped:
            return
        except BaseException as error:
            ended.put(error)

    def _watch(self) -> None:
        if time.monotonic() - self._moved < STUCK_S:
            return
        self._moved = time.monotonic()
        self._course.notify(f"Nothing has moved for {STUCK_S / 60:.0f} minutes. This is where all threads are:")
        show_stacks()


def _all_start(threads: Iterable[threading.Thread]) -> bool:
    """Whether the system lets all of these threads start."""
    try:
        for thread in threads:
            thread.start()
    except RuntimeError:
        return False
    return True


def show_stacks() -> None:
    """Write the stacks of all threads to stderr."""
    with contextlib.suppress(OSError, ValueError, io.UnsupportedOperation):
        faulthandler.dump_traceback(sys.stderr)
