"""Runs the jobs. A bad scan does not stop the others, and what is done already is not done again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from umlite.batch.jobs import Job
from umlite.batch.model import Model
from umlite.batch.orders import Orders
from umlite.batch.outcome import Outcome
from umlite.batch.steps import Steps
from umlite.errors import UmliteError
from umlite.machine.memory import as_refusal
from umlite.products.choice import products_of
from umlite.products.formats import FORMATS
from umlite.products.product import Product
from umlite.progress import Progress, no_progress

if TYPE_CHECKING:
    from umlite.api import Segmenter
    from umlite.cost.forecast import Forecast

Result = TypeVar("Result")


def run_jobs(
    model: Model,
    jobs: Sequence[Job],
    orders: Orders,
    *,
    progress_of: Callable[[str], Progress] = lambda _name: no_progress,
    forecast_of: Callable[[Segmenter], Forecast] | None = None,
) -> Iterator[Outcome]:
    """Segment one scan after the other, and save each before the next is read. Errors of a scan become outcomes.

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
    steps = Steps(model, orders, {os.path.realpath(job.scan) for job in jobs})
    forecast: Forecast | None = None
    is_loaded = False
    for job in jobs:
        outcome = contained(steps.skipped, job)
        if outcome is None:
            if not is_loaded:
                model.segmenter.check_request(orders.request)
                forecast = None if forecast_of is None else forecast_of(model.segmenter)
                is_loaded = True
            outcome = contained(partial(steps.run, forecast=forecast, progress=progress_of(job.scan.name)), job)
        yield outcome
        del outcome
    for product in products:
        product.finish_run()


def check_orders(model: Model, jobs: Sequence[Job], orders: Orders) -> list[Product]:
    """The products of a run. Raises RequestError where what is asked of all scans does not exist."""
    model.classes.resolve(orders.request.classes)
    probabilities, count = orders.request.probabilities, len(jobs)
    formats = [FORMATS[name] for name in sorted({job.format for job in jobs})]
    made = [products_of(orders.wanted, one, probabilities=probabilities, scans=count) for one in formats]
    return [product for products in made for product in products]


def contained(step: Callable[[Job], Result], job: Job) -> Result | Outcome:
    """The outcome of a step, or of its error: it must not cost the other scans."""
    try:
        return step(job)
    except UmliteError as error:
        return Outcome(job, error=error)
    except Exception as error:  # a defect of umlite: the caller reports it in full
        return Outcome(job, error=as_refusal(error) or error)
