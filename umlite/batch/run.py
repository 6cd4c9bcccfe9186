"""Runs the jobs in one process. A bad scan does not stop the others, and what is done already is not done again."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from umlite.batch.containing import contained
from umlite.batch.jobs import Job
from umlite.batch.model import Model
from umlite.batch.orders import Orders
from umlite.batch.outcome import Outcome
from umlite.batch.overlap import Course, Overlap
from umlite.batch.room import Room
from umlite.batch.steps import Steps
from umlite.errors import RequestError
from umlite.products.choice import products_of
from umlite.products.formats import FORMATS
from umlite.products.product import Product
from umlite.progress import Notify, Progress, no_notice, no_progress

if TYPE_CHECKING:
    from umlite.api import Segmenter
    from umlite.cost.forecast import Forecast

Said = TypeVar("Said")


@dataclass(frozen=True)
class Watcher:
    """Who looks on while scans run.

    Args:
        progress_of: makes a scan's `Progress` from its name.
        notify: gets sentences for a person.
        at_work: gets the number of a process from 1, the name of the scan whose windows it runs (or what else it does),
            windows done and all windows.
    """

    progress_of: Callable[[str], Progress] = lambda _name: no_progress
    notify: Notify = no_notice
    at_work: Callable[[int, str, int, int], None] = lambda _process, _name, _done, _total: None


def run_jobs(
    model: Model,
    jobs: Sequence[Job],
    orders: Orders,
    *,
    progress_of: Callable[[str], Progress] = lambda _name: no_progress,
    forecast_of: Callable[[Segmenter], Forecast] | None = None,
) -> Iterator[Outcome]:
    """Segment scans one after the other. Errors of a scan become outcomes.

    No outcome is kept here: a caller that drops one before it asks for the next needs memory for only one scan. The
    network is loaded when the first scan needs it.

    Args:
        model: weights and options.
        jobs: scans and places of their results.
        orders: what is asked of every scan.
        progress_of: makes a scan's `Progress` from its name.
        forecast_of: makes what predicts the cost of each scan and refuses scans that are too large.

    Yields:
        One outcome per job, in order.

    Raises:
        RequestError: the request cannot be served for any scan; raised before the first.
        OutputError: what is about all scans cannot be written; raised after the last.
        UmliteError: the network cannot be loaded.
    """
    products = check_orders(model, jobs, orders)
    steps = Steps(model, orders, real_paths(jobs))
    forecast: Forecast | None = None
    is_loaded = False
    for job in jobs:
        outcome = contained(steps.skipped, job)
        if outcome is None:
            if not is_loaded:
                model.segmenter.check_request(orders.request)
                forecast = None if forecast_of is None else forecast_of(model.segmenter)
                is_loaded = True
            outcome = contained(steps.run, job, forecast, progress_of(job.scan.name))
        yield outcome
        del outcome
    finish_run(products)


def run_overlapped(
    model: Model,
    jobs: Iterator[Job],
    steps: Steps,
    orders: Orders,
    *,
    say: Callable[[Outcome], Said],
    forecast_of: Callable[[Segmenter], Forecast],
    watcher: Watcher = Watcher(),
    started: Callable[[Overlap[Any]], None] = lambda _overlap: None,
    again: Callable[[Job], None] | None = None,
) -> Generator[Said, None, None]:
    """Segment scans, three at a time in memory where they fit: one is prepared and one written while windows run.

    Args:
        model: weights and options.
        jobs: scans and places of their results; read as far as there is room.
        steps: what is done to each.
        orders: what is asked of every scan.
        say: what is kept of an outcome.
        forecast_of: as of `run_jobs`.
        watcher: who looks on.
        started: gets what can be stopped from another thread.
        again: gets a job whose scan was refused memory while others were there; None has it tried after the last one.

    Yields:
        What `say` makes of each outcome, in the order of the jobs; scans that were refused memory come last.

    Raises:
        UmliteError: the network cannot be loaded, or the request cannot be served for any scan.
    """
    for job in jobs:
        if (outcome := contained(steps.skipped, job)) is not None:
            yield say(outcome)
            continue
        model.segmenter.check_request(orders.request)
        forecast = forecast_of(model.segmenter)
        size_of = partial(_size, orders=orders, forecast=forecast)
        course = Course(steps, Room(forecast.fits), size_of, say, watcher.progress_of, forecast, watcher.notify, again)
        overlap = Overlap(course)
        started(overlap)
        yield from overlap.run(itertools.chain([job], jobs))


def _size(job: Job, orders: Orders, forecast: Forecast) -> int:
    """Bytes that a scan takes at most; 0 where its request does not exist, which is told when its turn comes."""
    try:
        return forecast.size_of(job.series or job.scan, job.request or orders.request)
    except RequestError:
        return 0


def real_paths(jobs: Sequence[Job]) -> frozenset[str]:
    """Files of scans, which no result may replace."""
    return frozenset(os.path.realpath(job.scan) for job in jobs)


def check_orders(model: Model, jobs: Sequence[Job], orders: Orders) -> list[Product]:
    """The products of a run. Raises RequestError where what is asked of all scans does not exist."""
    model.classes.resolve(orders.request.classes)
    request, count = orders.request, len(jobs)
    formats = [FORMATS[name] for name in sorted({job.format for job in jobs})]
    made = [products_of(orders.wanted, one, probabilities=request.probabilities, scans=count) for one in formats]
    return [product for products in made for product in products]


def finish_run(products: Sequence[Product]) -> None:
    """Write what is about all scans. Raises OutputError."""
    for product in products:
        product.finish_run()
