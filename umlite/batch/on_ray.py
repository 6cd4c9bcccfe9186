"""A batch on a cluster: one actor per GPU, or per group of cores, on Ray. Scheduling and lost nodes are Ray's.

Inputs and results lie on a file system that all machines share. Needs the extra `ray`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Iterator
from typing import Any

from umlite.batch.containing import contained
from umlite.batch.errand import Errand
from umlite.batch.jobs import Job
from umlite.batch.model import Model
from umlite.batch.steps import Steps
from umlite.batch.told import Told, told
from umlite.errors import DeviceError, GivenUpError
from umlite.progress import Notify, no_notice

CORES = 8
"""Of an actor where no number of threads was asked for."""
_QUEUED = 2
"""Scans that an actor has at a time, so that it need not wait for the next."""


class Computer:
    """An actor: a network, and the steps of one scan after the other."""

    def __init__(self, errand: Errand) -> None:
        options = errand.options
        self._model = Model(errand.weights, options, lambda: errand.load(options), packs=errand.packs)
        self._steps = Steps(self._model, errand.orders, errand.scans)
        self._forecast = errand.forecast(options, self._model.segmenter)

    def run(self, job: Job) -> Told:
        """Compute a scan, unless a lost actor has done so before."""
        outcome = contained(self._steps.skipped, job)
        return told(contained(self._steps.run, job, self._forecast) if outcome is None else outcome)


def run_on_ray(
    errand: Errand,
    jobs: Iterator[Job],
    done: Callable[[Job], Told | None],
    address: str = "auto",
    *,
    notify: Notify = no_notice,
) -> Generator[Told, None, None]:
    """A report of each job as it ends.

    Args:
        errand: what every actor does, with the options of each.
        jobs: the scans.
        done: the report of a job that needs no actor; else None.
        address: of the cluster; "auto" for the one that this machine belongs to.
        notify: gets a sentence about the actors.

    Raises:
        DeviceError: Ray is not installed, or there is no such cluster.
    """
    ray = _connected(address)
    actors = _actors(ray, errand, notify)
    crew = _Crew(ray, actors)
    try:
        for job in jobs:
            if (known := done(job)) is not None:
                yield known
                continue
            while crew.is_full:
                yield from crew.ended()
            crew.send(job)
        while crew.waiting:
            yield from crew.ended()
    finally:
        for actor in actors:
            ray.kill(actor)


class _Crew:
    """Actors and the scans that they have. A scan whose actor is lost goes to another one, once."""

    def __init__(self, ray: Any, actors: list[Any]) -> None:
        self._ray, self._actors = ray, list(actors)
        self.waiting: dict[Any, tuple[Job, Any]] = {}
        self._lost: set[str] = set()

    @property
    def is_full(self) -> bool:
        """Whether every actor has as many scans as it may."""
        return len(self.waiting) >= _QUEUED * len(self._actors)

    def send(self, job: Job) -> None:
        """Give a scan to the actor that has least to do."""
        loads = [sum(actor is other for _, other in self.waiting.values()) for actor in self._actors]
        actor = self._actors[loads.index(min(loads))]
        self.waiting[actor.run.remote(job)] = job, actor

    def ended(self) -> Iterator[Told]:
        """Reports of a scan that has ended by now; none where it is tried again."""
        for one in self._ray.wait(list(self.waiting))[0]:
            job, actor = self.waiting.pop(one)
            try:
                yield self._ray.get(one)
            except self._ray.exceptions.RayError as error:
                if actor in self._actors and len(self._actors) > 1:
                    self._actors.remove(actor)
                if str(job.output) not in self._lost:
                    self._lost.add(str(job.output))
                    self.send(job)
                    continue
                reason = str(error).strip().splitlines()[0]
                yield Told(job, error=GivenUpError(f"Ray could not compute it ({reason}). It was set aside."))


def _connected(address: str) -> Any:
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise DeviceError(
            "Ray is not installed. Install it: `pip install 'umlite[ray]'`, on every machine.", about="ray"
        ) from error
    try:
        if not ray.is_initialized():
            ray.init(address=address, logging_level="ERROR")
    except ConnectionError as error:
        raise DeviceError(
            f"There is no Ray cluster at {address} ({error}). Start one, or name another.", about="ray"
        ) from error
    return ray


def _actors(ray: Any, errand: Errand, notify: Notify) -> list[Any]:
    resources = ray.cluster_resources()
    cpus, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
    cores = min(errand.options.threads or CORES, max(1, cpus))
    count = gpus or max(1, cpus // cores)
    where = f"{gpus} GPUs" if gpus else f"{cpus} cores"
    notify(f"Ray: {count} actors on {where}.")
    needs = {"num_gpus": 1, "num_cpus": 1} if gpus else {"num_cpus": cores}
    make = ray.remote(max_restarts=-1, **needs)(Computer)
    return [make.remote(errand) for _ in range(count)]
