"""What checks look at: a scan, the numbers of its masks, and how the body lies in it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from umlite.findings.body import Body, fit_body
from umlite.results.statistics import ClassStatistics, Statistics, faces_near
from umlite.volume.geometry import Grid
from umlite.volume.plausibility import ScanFinding

if TYPE_CHECKING:
    from umlite.results.segmentation import Segmentation


@dataclass(frozen=True, eq=False)
class Subject:
    """A result as checks see it.

    Args:
        grid: the scan's.
        scan_findings: what was unusual about the scan when it was read.
        statistics: its numbers.
        kept_shares: share of each predicted mask that post-processing kept; empty where it is not known.
    """

    grid: Grid
    scan_findings: tuple[ScanFinding, ...]
    statistics: Statistics
    kept_shares: Mapping[str, float]

    @classmethod
    def of(cls, result: Segmentation, statistics: Statistics) -> Subject:
        """The subject of a segmentation and its statistics."""
        grid = Grid(result.scan.shape, result.scan.affine)
        return cls(grid, result.scan.findings, statistics, result.kept_shares)

    @functools.cached_property
    def classes(self) -> dict[str, ClassStatistics]:
        """Numbers of the requested classes by name."""
        return {c.name: c for c in self.statistics.classes}

    @functools.cached_property
    def body(self) -> Body:
        """How the body lies in the scan, from the organs found."""
        return fit_body(self.classes)

    def volume_ml(self, name: str) -> float:
        """Volume of a class; 0 if it was not requested."""
        return self.classes[name].volume_ml if name in self.classes else 0.0

    def median_hu(self, name: str, least_ml: float) -> float | None:
        """Median HU of a class; None if it was not requested or less of it was found."""
        found = self.classes.get(name)
        return None if found is None or found.hu is None or found.volume_ml < least_ml else found.hu.median

    def faces_near(self, name: str, within_mm: float) -> tuple[str, ...]:
        """Faces of the scan within some mm of a class; see `umlite.results.statistics.faces_near`."""
        found = self.classes[name]
        if found.first_voxel is None or found.last_voxel is None:
            return ()
        return faces_near(list(zip(found.first_voxel, found.last_voxel, strict=True)), self.grid, within_mm)

    @functools.cached_property
    def box_mm(self) -> npt.NDArray[np.float64]:
        """The least and greatest x, y and z of the scan's voxel centres in RAS mm, [2, 3]."""
        ends = np.array(np.meshgrid(*[(0, n - 1) for n in self.grid.shape])).reshape(3, -1)
        corners = self.grid.affine[:3, :3] @ ends + self.grid.affine[:3, 3:]
        return np.stack([corners.min(axis=1), corners.max(axis=1)])
