"""How good a learned class is: Dice in whole scans that were held out, and its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from umlite.evaluation.cohort import Bootstrap
from umlite.extension.labelled import Labelled
from umlite.results.metrics import dice

if TYPE_CHECKING:
    from umlite.api import Segmenter


def held_out_dice(extended: Segmenter, name: str, scans: Sequence[Labelled]) -> list[float]:
    """Dice of the new class in whole scans, post-processed, on their own grids; scans without the class left out."""
    found = []
    for labelled in scans:
        scan, mask = labelled.read()
        if mask.any():
            found.append(dice(extended.segment(scan, [name]).mask(name), mask))
    return found


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean of some values and its 95 % confidence interval, which is the value itself where there is only one."""
    mean = Bootstrap(resamples=2000).mean(values)
    return (mean.value, mean.low, mean.high) if mean.cases > 1 else (mean.value,) * 3
