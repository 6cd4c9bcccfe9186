"""What a job's result will consist of and depend on, known before its scan is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from umlite.batch.jobs import Job
from umlite.batch.model import Model
from umlite.batch.orders import Orders
from umlite.classes import AnatomyClass
from umlite.products.choice import products_of
from umlite.products.formats import FORMATS
from umlite.products.manifest import manifest_path
from umlite.products.place import Place
from umlite.products.product import Product
from umlite.products.wanted import Wanted
from umlite.request import Request

_KEPT = 64


@dataclass(frozen=True)
class Terms:
    """The same for all scans with one request and one format.

    Args:
        request: what is asked.
        wanted: what is written, its format by name.
        products: what writes it.
        classes: of the result.
        hashes: SHA-256 of the weights' file and of each pack.
        precision: of the engine.
    """

    request: Request
    wanted: Wanted
    products: tuple[Product, ...]
    classes: tuple[AnatomyClass, ...]
    hashes: tuple[str, ...]
    precision: str

    def files(self, place: Place) -> list[Path]:
        """The files of a result, without its manifest."""
        return [path for product in self.products for path in product.paths(place, self.classes)]

    def manifest(self, place: Place) -> Path | None:
        """The manifest's file; None where none is written."""
        return manifest_path(self.wanted, place)


def terms_of(model: Model, orders: Orders) -> Callable[[Job], Terms]:
    """A function that gives the terms of a job, or raises RequestError where it asks for what does not exist."""

    @lru_cache(_KEPT)
    def make(request: Request, name: str) -> Terms:
        wanted = replace(orders.wanted, format=name)
        products = products_of(wanted, FORMATS[name], probabilities=request.probabilities)
        classes = model.classes.resolve(request.classes)
        return Terms(request, wanted, products, classes, model.hashes, model.precision)

    return lambda job: make(job.request or orders.request, job.format)
