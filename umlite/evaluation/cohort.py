"""Metrics over all cases of a class, with bootstrap confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from umlite.evaluation.agreement import Agreement, LesionCounts, finite

_CONFIDENCE_PERCENT = (2.5, 97.5)


@dataclass(frozen=True)
class Estimate:
    """A metric of a cohort: the sum of something over cases by the sum of something else.

    Args:
        value: the metric; NaN where no case has it.
        low, high: its 95 % confidence interval, from resampled cases; NaN where it rests on fewer than two cases.
        cases: cases that it rests on.
    """

    value: float
    low: float
    high: float
    cases: int

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON, with None for NaN."""
        return {name: finite(value) for name, value in asdict(self).items()}

    def words(self, digits: int) -> str:
        """0.93 (0.91 to 0.95), without the interval where there is none; a dash without a value."""
        if math.isnan(self.value):
            return "-"
        value = f"{self.value:.{digits}f}"
        return value if math.isnan(self.low) else f"{value} ({self.low:.{digits}f} to {self.high:.{digits}f})"


@dataclass(frozen=True)
class Bootstrap:
    """How confidence intervals are made: cases are drawn with replacement, percentiles of the metric taken.

    Args:
        resamples: how often.
        seed: of the random draws; the same seed gives the same intervals.
    """

    resamples: int = 1000
    seed: int = 0

    def ratio(self, pairs: Sequence[tuple[float, float]]) -> Estimate:
        """The sum of the first numbers by the sum of the second ones. pairs: one a case; (0, 0) where it has none."""
        counts = np.array(pairs, dtype=np.float64).reshape(-1, 2)
        resting = int(np.count_nonzero(counts[:, 1]))
        if not resting:
            return Estimate(math.nan, math.nan, math.nan, 0)
        above, below = counts.sum(axis=0)
        low = high = math.nan
        if resting > 1:
            draws = np.random.default_rng(self.seed).integers(len(counts), size=(self.resamples, len(counts)))
            sums = counts[draws].sum(axis=1)
            drawn = sums[sums[:, 1] > 0]
            low, high = np.percentile(drawn[:, 0] / drawn[:, 1], _CONFIDENCE_PERCENT).tolist()
        return Estimate(float(above / below), low, high, resting)

    def mean(self, values: Iterable[float]) -> Estimate:
        """The mean of finite values, one a case; others count for nothing."""
        return self.ratio([(value, 1.0) if math.isfinite(value) else (0.0, 0.0) for value in values])


@dataclass(frozen=True)
class LesionSummary:
    """Lesions of a cohort.

    Args:
        sensitivity: found lesions by true ones.
        false_per_scan: predicted lesions that are false, by scan.
        truth, found, predicted, false: lesions of all scans.
    """

    sensitivity: Estimate
    false_per_scan: Estimate
    truth: int
    found: int
    predicted: int
    false: int


@dataclass(frozen=True)
class Summary:
    """One class over all cases that have it in prediction and truth.

    Args:
        name: the class.
        cases: how many were compared.
        dice, nsd, hd95_mm, volume_error_ml, volume_error_percent: means over the cases where each is finite.
        sensitivity: of the cases where the truth has a voxel of it, the share where the prediction has one.
        specificity: of the cases where the truth has none, the share where the prediction has none.
        lesions: None for classes that are no lesions.
    """

    name: str
    cases: int
    dice: Estimate
    nsd: Estimate
    hd95_mm: Estimate
    volume_error_ml: Estimate
    volume_error_percent: Estimate
    sensitivity: Estimate
    specificity: Estimate
    lesions: LesionSummary | None

    def estimates(self) -> dict[str, Estimate]:
        """All metrics with their intervals, by name."""
        own = {name: value for name, value in vars(self).items() if isinstance(value, Estimate)}
        if self.lesions is not None:
            own |= {
                "lesion_sensitivity": self.lesions.sensitivity,
                "false_lesions_per_scan": self.lesions.false_per_scan,
            }
        return own

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        counts = {}
        if self.lesions is not None:
            counts = {n: v for n, v in vars(self.lesions).items() if isinstance(v, int)}
        estimates = {name: estimate.to_dict() for name, estimate in self.estimates().items()}
        return {"name": self.name, "cases": self.cases, **estimates, "lesions": counts or None}


def summarise(name: str, rows: Sequence[Agreement], bootstrap: Bootstrap) -> Summary:
    """One class over its cases, at least one."""

    def mean(metric: Callable[[Agreement], float]) -> Estimate:
        return bootstrap.mean(map(metric, rows))

    present = [(row.truth_ml > 0, row.predicted_ml > 0) for row in rows]
    return Summary(
        name=name,
        cases=len(rows),
        dice=mean(lambda row: row.dice),
        nsd=mean(lambda row: row.nsd),
        hd95_mm=mean(lambda row: row.hd95_mm),
        volume_error_ml=mean(lambda row: row.volume_error_ml),
        volume_error_percent=mean(lambda row: row.volume_error_percent),
        sensitivity=bootstrap.ratio([(true and found, true) for true, found in present]),
        specificity=bootstrap.ratio([(not true and not found, not true) for true, found in present]),
        lesions=_summarise_lesions([row.lesions for row in rows if row.lesions is not None], bootstrap),
    )


def _summarise_lesions(rows: Sequence[LesionCounts], bootstrap: Bootstrap) -> LesionSummary | None:
    if not rows:
        return None
    return LesionSummary(
        sensitivity=bootstrap.ratio([(row.found, row.truth) for row in rows]),
        false_per_scan=bootstrap.ratio([(row.false, 1) for row in rows]),
        truth=sum(row.truth for row in rows),
        found=sum(row.found for row in rows),
        predicted=sum(row.predicted for row in rows),
        false=sum(row.false for row in rows),
    )
