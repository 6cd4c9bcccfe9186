"""Means, ratios and their confidence intervals over cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from umlite.evaluation.agreement import Agreement, LesionCounts
from umlite.evaluation.cohort import Bootstrap, summarise


def row(dice: float, truth: float = 1, predicted: float = 1, lesions: LesionCounts | None = None) -> Agreement:
    return Agreement("liver_tumor", truth, predicted, dice, 2, dice, 1.5, lesions)


def test_a_mean_and_its_interval() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0.8, 0.1, 60)
    found = Bootstrap(4000).mean([*values, math.nan, math.inf])
    assert found.value == pytest.approx(values.mean())
    assert found.cases == 60
    half = 1.96 * values.std() / math.sqrt(60)
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 5)


def test_the_seed_decides() -> None:
    values = list(np.random.default_rng(0).random(9))
    assert Bootstrap(seed=1).mean(values) == Bootstrap(seed=1).mean(values)
    assert Bootstrap(seed=1).mean(values) != Bootstrap(seed=2).mean(values)


def test_one_case_has_no_interval_and_none_no_value() -> None:
    one, none = Bootstrap().mean([0.5, math.nan]), Bootstrap().mean([math.nan])
    assert (one.value, one.cases) == (0.5, 1)
    assert math.isnan(one.low)
    assert math.isnan(none.value)
    assert none.to_dict() == {"value": None, "low": None, "high": None, "cases": 0}


def test_lesions_and_patients() -> None:
    rows = [
        row(0.7, lesions=LesionCounts(3, 2, 4, 1)),
        row(0.0, predicted=0, lesions=LesionCounts(1, 0, 0, 0)),
        row(0.0, truth=0, lesions=LesionCounts(0, 0, 2, 2)),
        row(math.nan, truth=0, predicted=0, lesions=LesionCounts(0, 0, 0, 0)),
    ]
    found = summarise("liver_tumor", rows, Bootstrap())
    assert found.lesions is not None
    assert (found.lesions.sensitivity.value, found.lesions.false_per_scan.value) == (2 / 4, 3 / 4)
    assert (found.sensitivity.value, found.sensitivity.cases) == (1 / 2, 2)
    assert (found.specificity.value, found.specificity.cases) == (1 / 2, 2)
    assert found.dice.value == pytest.approx(0.7 / 3)
    assert found.to_dict()["lesions"] == {"truth": 4, "found": 2, "predicted": 6, "false": 3}
