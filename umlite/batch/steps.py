"""The steps of one scan: whether it is done already, reading and preparing, the windows, cleaning and writing."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from umlite.batch.jobs import Job
from umlite.batch.model import Model
from umlite.batch.orders import Orders
from umlite.batch.outcome import Outcome
from umlite.batch.saving import Saver
from umlite.batch.standing import Standing, standing_of
from umlite.batch.terms import Terms, terms_of
from umlite.cost.actual import Cost
from umlite.errors import DeviceError
from umlite.machine.memory import peak_bytes, start_peak
from umlite.outputs.temporary import existing
from umlite.products.content import Content, content_of
from umlite.products.manifest import input_facts, run_facts
from umlite.products.product import Finished
from umlite.progress import Progress, no_progress

if TYPE_CHECKING:
    from umlite.api import Decided, Prepared
    from umlite.cost.forecast import Forecast
    from umlite.cost.prediction import Prediction

MOST_PARTS = 4
"""Parts that the classes of a scan are divided into, at most, where memory is refused for all of them at once."""
_MANY = 64


@dataclass(frozen=True, eq=False)
class Ready:
    """A scan whose windows can run."""

    job: Job
    terms: Terms
    prepared: Prepared
    content: Content
    predicted: Prediction | None


@dataclass(frozen=True, eq=False)
class Answered:
    """A scan whose windows have run."""

    job: Job
    terms: Terms
    decided: Decided
    content: Content
    predicted: Prediction | None


class Steps:
    """What is done to each scan of a run. The steps of different scans may run in different threads.

    Args:
        model: weights and options.
        orders: what is asked of every scan.
        scans: real paths of files that must stay.
    """

    def __init__(self, model: Model, orders: Orders, scans: Collection[str] = ()) -> None:
        self._model, self._orders = model, orders
        self._terms = terms_of(model, orders)
        self._saver = Saver(orders, scans)
        self._facts: dict[tuple[Any, ...], dict[str, Any]] = {}

    @property
    def batch(self) -> int:
        """Windows that run between two calls of `progress`, at most; a guess where the engine goes by free memory."""
        return self._model.segmenter.setup.options.batch or _MANY

    def skipped(self, job: Job) -> Outcome | None:
        """The outcome of a job whose result is there already; None where it has to be computed."""
        if self._orders.force:
            return None
        terms = self._terms(job)
        self._saver.clean(job)
        return _outcome_of(job, standing_of(job, terms, verify_hashes=self._orders.verify_hashes))

    def prepare(self, job: Job, forecast: Forecast | None = None) -> Ready | Outcome:
        """See that the result can be written, read the scan, and turn it into what the network sees.

        An outcome where another run has made the result meanwhile.
        """
        terms = self._terms(job)
        segmenter = self._model.segmenter
        segmenter.check_request(terms.request)
        if not self._saver.check(job, terms):
            return _outcome_of(job, standing_of(job, terms)) or Outcome(job, skipped=True)
        prepared = segmenter.prepare(job.series or job.scan, force_geometry=terms.request.force_geometry)
        content = content_of(job.scan, job.series)
        predicted = None if forecast is None else forecast.of(prepared, terms.request)
        return Ready(job, terms, prepared, content, predicted)

    def decide(
        self, ready: Ready, progress: Progress = no_progress, is_alone: Callable[[], bool] = lambda: True
    ) -> Answered:
        """Run the windows. Where memory is refused to a scan that is alone, in parts of its classes."""
        job, request = ready.job, ready.terms.request
        folder = existing(job.place.folder_beside("probabilities")) if request.keeps_probabilities else None
        most = min(MOST_PARTS, len(ready.terms.classes)) if request.can_be_parted else 1
        decide = partial(self._model.segmenter.decide, ready.prepared, request, progress=progress, folder=folder)
        parts = 1
        while True:
            try:
                return Answered(job, ready.terms, decide(parts=parts), ready.content, ready.predicted)
            except DeviceError:
                if 2 * parts > most or not is_alone():
                    raise
            parts *= 2  # here, where the error no longer holds what was in memory

    def finish(self, answered: Answered) -> Outcome:
        """Clean the masks and write all files of the result."""
        job, terms, content, predicted = answered.job, answered.terms, answered.content, answered.predicted
        result = self._model.segmenter.finish(answered.decided)
        del answered  # predicted masks need not be in memory while cleaned ones are written
        spent = {"predicted": predicted and predicted.to_dict(), "peak_bytes": peak_bytes()}
        facts = self._run_facts(terms) | {"input": input_facts(job.scan, content, job.series), "cost": spent}
        finished = Finished(result, job.series, facts, wanted=terms.wanted)
        written = self._saver.save(finished, job, terms)
        if written is None:
            return _outcome_of(job, standing_of(job, terms)) or Outcome(job, skipped=True)
        cost = Cost(result.timings | written.seconds, peak_bytes(), predicted)
        manifest, manifest_file = written.manifest, written.manifest_file
        return Outcome(job, finished, written.files, cost=cost, manifest=manifest, manifest_file=manifest_file)

    def run(self, job: Job, forecast: Forecast | None = None, progress: Progress = no_progress) -> Outcome:
        """All steps, one after the other. Raises what they raise."""
        start_peak()
        ready = self.prepare(job, forecast)
        if isinstance(ready, Outcome):
            return ready
        held = [ready]
        del ready  # each step's input goes with it: no volume is in memory while masks are cleaned and written
        return self.finish(self.decide(held.pop(), progress))

    def key(self, job: Job) -> tuple[Any, ...] | None:
        """What two jobs have in common that may share a result, besides their content; None for one that never does.

        Raises RequestError where the job asks for what does not exist.
        """
        terms = self._terms(job)
        if terms.manifest(job.place) is None or not all(product.can_be_copied for product in terms.products):
            return None
        return terms.request, terms.wanted, None if job.series is None else job.series.fill_gaps

    def copy(self, job: Job, source: Job) -> Outcome | None:
        """Give a job the result of another one with the same content; None where that is not whole or has changed."""
        terms = self._terms(job)
        standing = standing_of(source, terms, verify_hashes=True)
        content = content_of(job.scan, job.series)
        if not standing.is_done or standing.manifest is None or content.sha256 != standing.manifest.scan_sha256:
            return None
        if not self._saver.check(job, terms):
            return _outcome_of(job, standing_of(job, terms)) or Outcome(job, skipped=True)
        facts = standing.manifest.data | {
            "input": input_facts(job.scan, content, job.series),
            "same_content_as": os.path.abspath(source.scan),
            "warnings": [text.replace(str(source.scan), str(job.scan)) for text in standing.manifest.data["warnings"]],
            "cost": {"predicted": None, "peak_bytes": peak_bytes()},
        }
        written = self._saver.copy(source, job, terms, facts)
        return Outcome(
            job,
            files=written.files,
            manifest=written.manifest,
            manifest_file=written.manifest_file,
            same_content_as=source.scan,
        )

    def _run_facts(self, terms: Terms) -> dict[str, Any]:
        key = (terms.request, terms.wanted)
        if key not in self._facts:
            setup = self._model.segmenter.setup
            facts = run_facts(self._model.card, self._model.path, self._model.packs, setup, terms.request, terms.wanted)
            self._facts = {key: facts}  # that of the last request; a run with several changes rarely
        return self._facts[key]


def _outcome_of(job: Job, standing: Standing) -> Outcome | None:
    if not standing.is_done or standing.manifest is None:
        return None
    files = tuple(job.place.home / output.file for output in standing.manifest.outputs)
    manifest, path = standing.manifest.data, standing.manifest_file
    return Outcome(job, files=files, manifest=manifest, manifest_file=path, skipped=True)
