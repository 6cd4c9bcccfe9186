"""A whole batch: which jobs are this machine's, and in how many processes they run."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from umlite.batch.containing import contained
from umlite.batch.crew import Crew, CrewOptions
from umlite.batch.errand import Errand
from umlite.batch.jobs import Job
from umlite.batch.model import Model
from umlite.batch.on_ray import run_on_ray
from umlite.batch.orders import Orders
from umlite.batch.run import Watcher, check_orders, finish_run, real_paths, run_jobs, run_overlapped
from umlite.batch.steps import Steps
from umlite.batch.told import Told, told
from umlite.batch.twins import group_twins, run_once_each
from umlite.engines.options import EngineOptions
from umlite.errors import RequestError

if TYPE_CHECKING:
    from umlite.api import Segmenter
    from umlite.cost.forecast import Forecast


@dataclass(frozen=True)
class Batch:
    """The scans of a run and how they are computed.

    Args:
        model: weights and options.
        orders: what is asked of every scan.
        load: loads the segmenter of some options. For several processes it can be pickled, like `forecast`.
        forecast: makes what predicts each scan's cost from options and segmenter.
        crew: over how many processes it is spread; None for this one.
        ray: address of the Ray cluster that computes it; None for this machine.
    """

    model: Model
    orders: Orders
    load: Callable[[EngineOptions], Segmenter]
    forecast: Callable[[EngineOptions, Segmenter], Forecast]
    crew: CrewOptions | None = None
    ray: str | None = None

    def run(self, jobs: Sequence[Job], watcher: Watcher = Watcher()) -> Generator[Told, None, None]:
        """A report of each scan as it ends.

        Raises:
            UmliteError: as `umlite.batch.run.run_jobs`.
        """
        products = check_orders(self.model, jobs, self.orders)
        steps = Steps(self.model, self.orders, real_paths(jobs))
        run = partial(self._run_each, steps, watcher)
        if self.orders.dedupe:
            yield from run_once_each(group_twins(jobs, steps), steps, run)
        else:
            yield from run(jobs)
        finish_run(products)

    def _run_each(self, steps: Steps, watcher: Watcher, jobs: Sequence[Job]) -> Generator[Told, None, None]:
        done, forecast_of = partial(_done, steps), partial(self.forecast, self.model.options)
        if self.ray is not None:
            yield from run_on_ray(self._errand(jobs), iter(jobs), done, self.ray, notify=watcher.notify)
        elif self.crew is not None:
            yield from Crew(self._errand(jobs), self.crew, done, watcher).run(iter(jobs))
        elif len(jobs) == 1:
            progress_of = watcher.progress_of
            outcomes = run_jobs(self.model, jobs, self.orders, progress_of=progress_of, forecast_of=forecast_of)
            yield from map(told, outcomes)
        else:
            yield from run_overlapped(
                self.model, iter(jobs), steps, self.orders, say=told, forecast_of=forecast_of, watcher=watcher
            )

    def _errand(self, jobs: Sequence[Job]) -> Errand:
        model, scans = self.model, real_paths(jobs)
        return Errand(model.path, model.packs, model.options, self.orders, scans, self.load, self.forecast)


def _done(steps: Steps, job: Job) -> Told | None:
    """The report of a job that is done already, or cannot be done."""
    outcome = contained(steps.skipped, job)
    return None if outcome is None else told(outcome)


def shard_of(text: str) -> tuple[int, int]:
    """Which part of how many, from "2/8". Raises RequestError."""
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise RequestError(f"Expected a shard such as 2/8, from 1/8 to 8/8, found {text!r}.", about="shard")
    return int(found[1]), int(found[2])


def part_of(jobs: Sequence[Job], shard: tuple[int, int], cost_of: Callable[[Job], float]) -> list[Job]:
    """The jobs of one shard: every job is in exactly one, and all take about as long.

    The largest jobs come first, each to the shard that has least to do. The same jobs give the same shards anywhere.

    Args:
        jobs: all of them.
        shard: which part, from 1, of how many.
        cost_of: seconds of a job, or anything that grows like them.
    """
    part, parts = shard
    costs = [cost_of(job) for job in jobs]
    order = sorted(range(len(jobs)), key=lambda at: (-costs[at], str(jobs[at].output)))
    loads = [(0.0, number) for number in range(1, parts + 1)]
    heapq.heapify(loads)
    mine = []
    for at in order:
        load, number = heapq.heappop(loads)
        heapq.heappush(loads, (load + max(costs[at], 1e-9), number))
        if number == part:
            mine.append(at)
    return [jobs[at] for at in sorted(mine)]
