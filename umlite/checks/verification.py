"""Compares the chosen options with the reference engine, on the user's own scan and machine.

It compares blended logits, or logits of sampled windows, at the model's spacing and before post-processing.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from umlite.api import Segmenter
from umlite.checks.compared_windows import ComparedWindows, check_count
from umlite.errors import RequestError
from umlite.gpu.transfer import synchronise
from umlite.progress import Progress, no_progress
from umlite.request import Classes, Request
from umlite.results.metrics import dice_of_counts

DEFAULT_TOLERANCE = 1e-3
"""Share of a class's standard deviation: enough for reordered float32 arithmetic. Half precision needs more."""


@dataclass
class ClassAgreement:
    """How far two segmenters agree about one class.

    Args:
        name: canonical name.
        reference_voxels: voxels that the reference finds.
        voxels: voxels that the chosen side finds.
        flipped: voxels that only one of them finds.
        largest_margin: largest absolute reference logit of a flipped voxel; 0 if there are none.
        largest_difference: largest difference between two logits.
    """

    name: str
    reference_voxels: int = 0
    voxels: int = 0
    flipped: int = 0
    largest_margin: float = 0.0
    largest_difference: float = 0.0
    _moments: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])  # count, sum, sum of squares

    def add(self, reference: Tensor, found: Tensor) -> None:
        """Count further logits of this class. Both tensors have one shape and one device."""
        positive, flipped = reference > 0, (reference > 0) != (found > 0)
        self.reference_voxels += int(positive.sum())
        self.voxels += int((found > 0).sum())
        self.flipped += int(flipped.sum())
        if flipped.any():
            self.largest_margin = max(self.largest_margin, float(reference[flipped].abs().max()))
        difference = float((reference - found).abs().max())
        if difference > self.largest_difference or math.isnan(difference):  # NaN stays, since nothing exceeds it
            self.largest_difference = difference
        wide = reference.double()
        for place, value in enumerate((wide.numel(), float(wide.sum()), float(wide.square().sum()))):
            self._moments[place] += value

    @property
    def deviation(self) -> float:
        """Standard deviation of the reference logits."""
        count, total, squares = self._moments
        return float(max(squares / count - (total / count) ** 2, 0.0) ** 0.5) if count else 0.0

    @property
    def relative_difference(self) -> float:
        """Largest difference divided by the standard deviation; 0 if both are 0."""
        if self.largest_difference == 0:
            return 0.0
        return self.largest_difference / self.deviation if self.deviation else float("inf")

    @property
    def dice(self) -> float:
        """Dice of the two masks; 1 if neither side finds anything, since they agree."""
        sizes = self.reference_voxels + self.voxels
        overlap = (sizes - self.flipped) / 2
        return float(dice_of_counts(overlap, self.reference_voxels, self.voxels)) if sizes else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "name": self.name,
            "dice": round(self.dice, 6),
            "reference_voxels": self.reference_voxels,
            "voxels": self.voxels,
            "flipped": self.flipped,
            "largest_margin": _finite(self.largest_margin),
            "largest_difference": _finite(self.largest_difference),
            "relative_difference": _finite(self.relative_difference),
        }


@dataclass(frozen=True)
class Verification:
    """The agreement of all classes.

    Args:
        classes: agreement of each class.
        compared: number of windows that ran.
        windows: number of all windows.
        reference_seconds: seconds of the reference for these windows.
        seconds: seconds of the chosen side for these windows.
        tolerance: largest difference allowed, as a share of a class's standard deviation.
    """

    classes: tuple[ClassAgreement, ...]
    compared: int
    windows: int
    reference_seconds: float
    seconds: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether no logit differs by more than the tolerance times its class's standard deviation."""
        return all(c.relative_difference <= self.tolerance for c in self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "passed": self.passed,
            "tolerance": self.tolerance,
            "windows_compared": self.compared,
            "windows": self.windows,
            "reference_s": round(self.reference_seconds, 3),
            "chosen_s": round(self.seconds, 3),
            "classes": [c.to_dict() for c in self.classes],
        }


def verify(
    reference: Segmenter,
    chosen: Segmenter,
    scan: Path,
    request: Request | Classes = None,
    *,
    windows: int | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
    progress: Progress = no_progress,
) -> Verification:
    """Compare two segmenters with the same weights on a scan.

    Args:
        reference: the side that is believed.
        chosen: the side to check.
        scan: the scan's file.
        request: what is asked of it; its classes, overlap and geometry count.
        windows: number of single windows to compare, evenly spread over those that are not constant. None: compare the
            blended logits of the whole scan, which must fit in memory twice.
        tolerance: largest difference allowed, as a share of a class's standard deviation.
        progress: called with the number of windows done and the number of all windows.

    Raises:
        InputError: the scan has nothing to compare.
        RequestError: no windows or a negative tolerance.
        DeviceError: the logits do not fit in memory.
    """
    asked = Request.of(request)
    names, overlap = [c.name for c in chosen.check_request(asked)], asked.overlap
    check_count(windows)
    if not tolerance >= 0:
        raise RequestError(f"Expected a tolerance of at least 0, found {tolerance}.", about="tolerance")
    compared = ComparedWindows.of(chosen, scan, overlap, force_geometry=asked.force_geometry)
    volume, grid = compared.volume, compared.grid
    agreements = tuple(ClassAgreement(name) for name in names)
    if windows is None:
        total = 2 * len(grid)
        expected, theirs = _timed(
            reference,
            lambda: reference.blended_logits(volume, names, overlap=overlap, progress=_part(progress, 0, total)),
        )
        found, ours = _timed(
            chosen,
            lambda: chosen.blended_logits(volume, names, overlap=overlap, progress=_part(progress, len(grid), total)),
        )
        _compare(agreements, expected, found)
        return Verification(agreements, len(grid), len(grid), theirs, ours, tolerance)
    sampled = compared.starts(windows)
    theirs, ours = 0.0, 0.0
    for done, start in enumerate(sampled, start=1):
        x = compared.at(start)[None, None]
        expected, seconds = _timed(reference, functools.partial(_one_window, reference, x, names))
        theirs += seconds
        found, seconds = _timed(chosen, functools.partial(_one_window, chosen, x, names))
        ours += seconds
        _compare(agreements, expected, found)
        progress(done, len(sampled))
    return Verification(agreements, len(sampled), len(grid), theirs, ours, tolerance)


def _compare(agreements: Sequence[ClassAgreement], expected: Tensor, found: Tensor) -> None:
    for agreement, reference, answer in zip(agreements, expected, found, strict=True):
        agreement.add(reference, answer.to(reference.device))


def _timed(segmenter: Segmenter, compute: Callable[[], Tensor]) -> tuple[Tensor, float]:
    start = time.perf_counter()
    with torch.inference_mode():
        answer = compute()
    synchronise(segmenter.setup.device)
    return answer, time.perf_counter() - start


def _one_window(segmenter: Segmenter, x: Tensor, names: Sequence[str]) -> Tensor:
    return segmenter.window_logits(x, names)[0]


def _part(progress: Progress, before: int, total: int) -> Progress:
    return lambda done, _all: progress(before + done, total)


def _finite(value: float) -> float | None:
    """The value, or None for infinity and NaN, which JSON lacks."""
    return value if math.isfinite(value) else None
