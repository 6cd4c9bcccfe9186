"""What a report is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from umlite.results.segmentation import Segmentation
from umlite.results.statistics import Statistics


class Finding(Protocol):
    """What a check found: its code, "warning" or "note", and one sentence."""

    @property
    def code(self) -> str: ...

    @property
    def level(self) -> str: ...

    @property
    def sentence(self) -> str: ...


@dataclass(frozen=True, eq=False)
class ReportContent:
    """What a report shows.

    Args:
        result: the masks and their scan.
        statistics: their numbers.
        checks: what was found; an attribute `evidence` is shown where there is one.
        manifest: how the result was made, as JSON. It is shown as it is: leave out what readers must not see.
        title: of the page; the scan's name by default.
    """

    result: Segmentation
    statistics: Statistics
    checks: Sequence[Finding] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""

    @property
    def heading(self) -> str:
        return self.title or self.result.scan.name

    def voxel_at(self, place_mm: Sequence[float]) -> list[int]:
        """The scan's voxel nearest to RAS coordinates."""
        scan = self.result.scan
        index = np.linalg.solve(scan.affine, [*place_mm, 1.0])[:3]
        return np.clip(np.rint(index), 0, np.array(scan.shape) - 1).astype(int).tolist()
