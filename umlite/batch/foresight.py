"""What a batch would do and how long it would take, from the headers of all its scans and the voxels of some."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from umlite.batch.containing import contained
from umlite.batch.jobs import Job
from umlite.batch.model import Model
from umlite.batch.orders import Orders
from umlite.batch.outcome import Outcome
from umlite.batch.steps import Steps
from umlite.batch.told import Told, told
from umlite.batch.twins import group_twins
from umlite.errors import InputError, UmliteError
from umlite.outputs.temporary import temporary_folder
from umlite.products.place import Place
from umlite.products.wanted import Wanted

if TYPE_CHECKING:
    from umlite.api import Segmenter
    from umlite.cost.calibration import Calibration
    from umlite.cost.prediction import Prediction

SAMPLE = 12
"""Scans that are read: from the smallest to the largest, at equal steps."""
_TINY = (24, 24, 24)
MOST_NAMED = 1000
"""Scans that will fail are told by name, these at most."""


@dataclass(frozen=True)
class BadScan:
    """A scan that will fail, and why."""

    scan: str
    error: str
    code: str


@dataclass(frozen=True)
class Foresight:
    """The prediction of a batch.

    Args:
        scans: how many there are.
        skipped: of them are done before.
        duplicates: of them would get copies of another's result.
        unreadable: of them will fail: their header cannot be read, or what is asked of them does not exist.
        run: of them would be computed.
        sampled: of those were read for the prediction.
        seconds: of all of those, one after the other with all cores, without the start of the process. Overlap takes
            away what reading and writing take, at most.
        window_seconds: the part of the windows.
        scan_seconds: the part that every scan takes, however small: its files, checks and hashes.
        output_bytes: of compressed masks.
        most_bytes: memory of the largest scan that was read.
        bad: the first of those that will fail, each with its reason.
    """

    scans: int
    skipped: int
    duplicates: int
    unreadable: int = 0
    run: int = 0
    sampled: int = 0
    seconds: float = 0.0
    window_seconds: float = 0.0
    scan_seconds: float = 0.0
    output_bytes: int = 0
    most_bytes: int = 0
    bad: tuple[BadScan, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**asdict(self), "hours": round(self.seconds / 3600, 3)}


def foresee(
    model: Model,
    orders: Orders,
    jobs: Sequence[Job],
    windows_of: Callable[[Job], float],
    calibration_of: Callable[[Segmenter], Calibration],
) -> Foresight:
    """Predict a batch.

    Windows by headers say how the scans compare; scans that are read say how long a window takes, and how much of a
    scan is air that needs none.

    Args:
        model: weights and options; the network is loaded only if a scan would be computed.
        orders: what is asked of every scan.
        jobs: the scans.
        windows_of: windows of a job by its header; 0 where none can be read.
        calibration_of: the calibration of the loaded network.

    Raises:
        UmliteError: the network cannot be loaded.
    """
    steps = Steps(model, orders)
    found, due, failing = _sorted_out(steps, jobs, dedupe=orders.dedupe)
    sizes = {id(job): windows_of(job) for job in due}
    known = sorted((job for job in due if sizes[id(job)]), key=lambda job: sizes[id(job)])
    failing += [Outcome(job) for job in due if not sizes[id(job)]]
    found = replace(
        found, unreadable=len(failing), run=len(known), bad=tuple(_bad(outcome) for outcome in failing[:MOST_NAMED])
    )
    if not known:
        return found
    calibration = calibration_of(model.segmenter)
    count = min(SAMPLE, len(known))
    picked = {round(at * (len(known) - 1) / max(1, count - 1)) for at in range(count)}
    costs = []
    for job in (known[at] for at in sorted(picked)):
        try:
            costs.append((sizes[id(job)], _predicted(model, orders, job, calibration)))
        except UmliteError:
            continue  # it is told when it runs
    each = len(known) * _seconds_besides(model, orders, calibration)
    seen = sum(size for size, _ in costs) or 1.0
    scale = sum(sizes[id(job)] for job in known) / seen
    return replace(
        found,
        sampled=len(costs),
        seconds=scale * sum(cost.seconds for _, cost in costs) + each,
        window_seconds=scale * sum(cost.steps["windows"] for _, cost in costs),
        scan_seconds=each,
        output_bytes=int(scale * sum(cost.output_bytes for _, cost in costs)),
        most_bytes=max((cost.peak_bytes for _, cost in costs), default=0),
    )


def _sorted_out(steps: Steps, jobs: Sequence[Job], *, dedupe: bool) -> tuple[Foresight, list[Job], list[Outcome]]:
    """Counts; the jobs that would be computed; outcomes of those that fail."""
    groups = group_twins(jobs, steps) if dedupe else [[job] for job in jobs]
    due: list[Job] = []
    failing: list[Outcome] = []
    skipped = duplicates = 0
    for group in groups:
        outcomes = [contained(steps.skipped, job) for job in group]
        failing += [one for one in outcomes if one is not None and one.error is not None]
        skipped += (done := sum(one is not None and one.error is None for one in outcomes))
        waiting = [job for job, one in zip(group, outcomes, strict=True) if one is None]
        due += waiting[: 0 if done else 1]
        duplicates += len(waiting[0 if done else 1 :])
    return Foresight(len(jobs), skipped, duplicates), due, failing


def _bad(outcome: Outcome) -> BadScan:
    """A scan that will fail, with the error that it will have."""
    found = outcome if outcome.error is not None else contained(_read_header, outcome.job)
    said = told(found) if isinstance(found, Outcome) else Told(outcome.job, InputError("Its header cannot be read."))
    return BadScan(str(said.job.scan), str(said.error), said.code)


def _read_header(job: Job) -> None:
    from umlite.cost.outlook import read_header

    read_header(job.series or job.scan)


def _predicted(model: Model, orders: Orders, job: Job, calibration: Calibration) -> Prediction:
    from umlite.cost.prediction import predict

    request = job.request or orders.request
    prepared = model.segmenter.prepare(job.series or job.scan, force_geometry=request.force_geometry)
    return predict(model.segmenter, calibration, prepared, request)


def _seconds_besides(model: Model, orders: Orders, calibration: Calibration) -> float:
    """Seconds that a scan takes besides what its sizes predict, of a tiny scan that is segmented twice."""
    import nibabel as nib

    spacing = [float(mm) for mm in model.card.spacing_mm]
    voxels = np.random.default_rng(0).normal(40, 25, _TINY).astype(np.int16)
    wanted = Wanted(statistics=orders.wanted.statistics, checks=orders.wanted.checks)  # no file of the user's
    orders, besides = Orders(orders.request, wanted), 0.0
    steps = Steps(model, orders)
    with temporary_folder("umlite-dry-run-") as folder:
        nib.save(nib.Nifti1Image(voxels, np.diag([*spacing, 1.0])), folder / "tiny.nii.gz")
        for turn in "12":  # the first one also loads what it needs
            job = Job(folder / "tiny.nii.gz", Place(folder / turn))
            start = time.perf_counter()
            outcome = steps.run(job)
            seconds = time.perf_counter() - start
            if outcome.cost is not None:
                steps_s = _predicted(model, orders, job, calibration).steps
                besides = seconds - outcome.cost.timings["windows"] - (sum(steps_s.values()) - steps_s["windows"])
    return max(besides, 0.0)
