"""What became of a scan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umlite.batch.jobs import Job
from umlite.cost.actual import Cost
from umlite.products.product import Finished

if TYPE_CHECKING:
    from umlite.api import Segmentation
    from umlite.results.statistics import Statistics


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job: a result with its files, its cost and its manifest, or an error.

    skipped: whether the result was there already; then there is only its manifest. same_content_as: the scan whose
    result was copied; then, too.
    """

    job: Job
    finished: Finished | None = None
    files: tuple[Path, ...] = ()
    error: Exception | None = None
    cost: Cost | None = None
    manifest: dict[str, Any] | None = None
    manifest_file: Path | None = None
    skipped: bool = False
    same_content_as: Path | None = None

    @property
    def result(self) -> Segmentation | None:
        """The masks; None after an error, and where the result was there already."""
        return None if self.finished is None else self.finished.result

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences about the files that a user should know."""
        return () if self.finished is None else tuple(self.finished.remarks)

    @property
    def statistics(self) -> Statistics | None:
        """The numbers; None where none were wanted."""
        return self.finished.statistics if self.finished is not None and self.finished.wanted.statistics else None
