"""What a batch would do and how long it would take, from the headers of all its scans and the voxels of some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from umlite.batch.containing import contained
from umlite.batch.jobs import Job
from umlite.batch.model import Model
from umlite.batch.orders import Orders
from umlite.batch.steps import Steps
from umlite.errors import UmliteError

if TYPE_CHECKING:
    from umlite.api import Segmenter
    from umlite.cost.calibration import Calibration
    from umlite.cost.prediction import Prediction

SAMPLE = 12
"""Scans that are read: from the smallest to the largest, at equal steps."""


@dataclass(frozen=True)
class Foresight:
    """The prediction of a batch.

    Args:
        scans: how many there are.
        skipped: of them are done before.
        unreadable: of them have no header that can be read, and will fail.
        run: of them would be computed.
        sampled: of those were read for the prediction.
        seconds: of all of those, one after the other with all cores. Overlap takes away what reading and writing
            take, at most.
        window_seconds: the part of the windows.
        output_bytes: of compressed masks.
        most_bytes: memory of the largest scan that was read.
    """

    scans: int
    skipped: int
    unreadable: int
    run: int
    sampled: int
    seconds: float
    window_seconds: float
    output_bytes: int
    most_bytes: int

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
    due = [job for job in jobs if contained(steps.skipped, job) is None]
    sizes = {id(job): windows_of(job) for job in due}
    known = sorted((job for job in due if sizes[id(job)]), key=lambda job: sizes[id(job)])
    counts = (len(jobs), len(jobs) - len(due), len(due) - len(known), len(known))
    if not known:
        return Foresight(*counts, 0, 0.0, 0.0, 0, 0)
    calibration = calibration_of(model.segmenter)
    count = min(SAMPLE, len(known))
    picked = {round(at * (len(known) - 1) / max(1, count - 1)) for at in range(count)}
    found = []
    for job in (known[at] for at in sorted(picked)):
        try:
            found.append((sizes[id(job)], _predicted(model, orders, job, calibration)))
        except UmliteError:
            continue  # it is told when it runs
    seen = sum(size for size, _ in found) or 1.0
    scale = sum(sizes[id(job)] for job in known) / seen
    return Foresight(
        *counts,
        len(found),
        scale * sum(cost.seconds for _, cost in found),
        scale * sum(cost.steps["windows"] for _, cost in found),
        int(scale * sum(cost.output_bytes for _, cost in found)),
        max((cost.peak_bytes for _, cost in found), default=0),
    )


def _predicted(model: Model, orders: Orders, job: Job, calibration: Calibration) -> Prediction:
    from umlite.cost.prediction import predict

    request = job.request or orders.request
    prepared = model.segmenter.prepare(job.series or job.scan, force_geometry=request.force_geometry)
    return predict(model.segmenter, calibration, prepared, request)
