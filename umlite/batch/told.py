"""What is said of a scan's outcome: all but its masks, small enough for thousands and for another process."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import Any

from umlite.batch.jobs import Job
from umlite.batch.outcome import Outcome
from umlite.errors import UmliteError
from umlite.machine.memory import as_refusal

_MOST_DOUBTS = 4


class DefectError(Exception):
    """An error that umlite does not raise on purpose, as text."""


@dataclass(frozen=True)
class Told:
    """An outcome for people and programs.

    Args:
        job: whose.
        error: why there is no result: an UmliteError, or a DefectError.
        trace: of a defect, line by line.
        skipped: whether the result was there already.
        same_content_as: the scan whose result was copied; empty where none was.
        entry: for JSON; empty where there is an error.
        warnings, doubts, notes: sentences about the result; doubts come from its checks.
        rows: class, ml and voxels.
        closing: one line about windows and cost.
        seconds: that it took.
    """

    job: Job
    error: Exception | None = None
    trace: tuple[str, ...] = ()
    skipped: bool = False
    same_content_as: str = ""
    entry: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    rows: tuple[tuple[str, str, str], ...] = ()
    closing: str = ""
    seconds: float = 0.0

    @property
    def code(self) -> str:
        """A word for what became of the scan: done, skipped, or the kind of error."""
        if self.error is None:
            return "skipped" if self.skipped else "done"
        return type(self.error).__name__.removesuffix("Error").lower()


def told(outcome: Outcome) -> Told:
    """Say what is to be said of an outcome."""
    job, result = outcome.job, outcome.result
    files = [str(file) for file in outcome.files]
    manifest = {"manifest_file": outcome.manifest_file and str(outcome.manifest_file), "manifest": outcome.manifest}
    if outcome.error is not None:
        return _of_error(job, outcome.error)
    if (other := outcome.same_content_as) is not None:
        entry = {"scan": str(job.scan), "same_content_as": str(other), "files": files, **manifest}
        closing = f"the same content as {other}, whose result was copied to {job.output}"
        return Told(job, same_content_as=str(other), entry=entry, closing=closing)
    if result is None:
        return Told(job, skipped=True, entry={"scan": str(job.scan), "skipped": True, "files": files, **manifest})
    cost = outcome.cost.to_dict() if outcome.cost else {}
    numbers = {"statistics": outcome.statistics.to_dict()} if outcome.statistics else {}
    warnings = (*result.warnings, *outcome.remarks)
    checks = outcome.finished.checks if outcome.finished else {}
    entry = {**result.to_dict(), "warnings": [*warnings], **checks, **cost, **numbers, "files": files, **manifest}
    volumes = result.volumes_ml
    left = f" ({result.undecided_voxels:,} voxels undecided)" if result.undecided_voxels else ""
    return Told(
        job,
        entry=entry,
        warnings=warnings,
        doubts=tuple(_doubts(outcome)),
        notes=tuple(result.notes),
        rows=tuple((c.name, f"{volumes[c.name]:,.1f}", f"{result.voxels[c.name]:,}") for c in result.classes),
        closing=f"{result.windows} windows{left}, {outcome.cost}. Written to {job.output}",
        seconds=outcome.cost.seconds if outcome.cost else 0.0,
    )


def said_of(error: Exception) -> Exception:
    """An error that another process can be told: one of umlite's, or the whole of a defect as text."""
    if isinstance(error, UmliteError):
        return error
    return as_refusal(error) or DefectError("".join(traceback.format_exception(error)))


def _of_error(job: Job, error: Exception) -> Told:
    if isinstance(error, UmliteError):
        return Told(job, error=error)
    trace = "".join(traceback.format_exception(error)).splitlines()
    return Told(job, error=DefectError(str(error) or repr(error)), trace=tuple(trace))


def _doubts(outcome: Outcome) -> list[str]:
    """Sentences of the first checks that doubt the result, without those of the scan, which are warnings already."""
    found = outcome.finished.findings if outcome.finished else None
    known = {finding.code for finding in outcome.result.scan.findings} if outcome.result else set()
    texts = [f.sentence for f in found or () if f.level == "warning" and f.code not in known]
    more = len(texts) - _MOST_DOUBTS
    return texts if more <= 1 else [*texts[:_MOST_DOUBTS], f"{more} more checks doubt the result."]
