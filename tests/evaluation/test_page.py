"""The page of an evaluation: plots and tables that hold the numbers, and nothing that a name smuggled in."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from umlite.evaluation.agreement import Agreement, LesionCounts
from umlite.evaluation.cohort import Bootstrap, summarise
from umlite.evaluation.evaluation import CaseResult, Evaluation
from umlite.evaluation.page import evaluation_page
from umlite.evaluation.plot import MOST_DOTS, Strip, plot

HOSTILE = '<script>alert("x")</script>&\x1b[31m\u202e'


def evaluation(cases: int, names: tuple[str, ...] = ("liver", "liver_tumor"), case: str = "case") -> Evaluation:
    rng = np.random.default_rng(0)
    results = []
    for number in range(cases):
        lesions = LesionCounts(2, 1, 3, 1)
        rows = tuple(
            Agreement(
                name, 10, 11, float(rng.random()), 2, float(rng.random()), 3.5, lesions if "tumor" in name else None
            )
            for name in names
        )
        results.append(CaseResult(f"{case}{number}", "pred", "truth", rows))  # type: ignore[arg-type]
    summaries = tuple(
        summarise(name, [row for r in results for row in r.classes if row.name == name], Bootstrap(50))
        for name in names
    )
    return Evaluation(tuple(results), summaries, ("A warning.",), (), Bootstrap(50))


def test_plots_and_tables_hold_the_numbers() -> None:
    found = evaluation(7)
    page = evaluation_page(found)
    assert page.count("<svg") == 2
    assert page.count("<circle") == 7 * 2 * 2
    for case in found.cases:
        for row in case.classes:
            assert f"{case.name}: {row.dice:.3f}" in page
            assert f'<td class="number" data-value="{row.nsd:.6g}">{row.nsd:.3f}</td>' in page
    assert f"{found.summaries[0].dice.value:.3f} ({found.summaries[0].dice.low:.3f} to" in page
    assert "A warning." in page
    assert "patients found" in page


def test_nothing_is_loaded_and_names_are_escaped() -> None:
    page = evaluation_page(evaluation(2, (HOSTILE, "spleen"), HOSTILE))
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=", page)


def test_a_plot_is_a_picture_with_words() -> None:
    values = [("a", 0.2), ("b", 0.4), ("c", 0.9)]
    drawing = ElementTree.fromstring(plot("Dice", [Strip("liver", values), Strip("nothing", [])])).find("svg")
    assert drawing is not None
    assert drawing.attrib["role"] == "img"
    assert drawing.attrib["aria-label"] == "Dice"
    centres = [float(dot.attrib["cx"]) for dot in drawing.iter("circle")]
    axis = [float(line.attrib["x1"]) for line in drawing.iter("line")][:6]
    expected = np.interp([0.2, 0.4, 0.9], [0, 1], [axis[0], axis[5]])
    np.testing.assert_allclose(centres, expected, atol=0.01)
    box = next(drawing.iter("rect"))
    assert float(box.attrib["x"]) == pytest.approx(np.interp(0.3, [0, 1], [axis[0], axis[5]]), abs=0.01)


def test_large_cohorts_give_small_pages() -> None:
    page = evaluation_page(evaluation(1500))
    assert page.count("<circle") <= 2 * 2 * MOST_DOTS
    assert len(page) < 1 << 20
    assert "The 2,000 rows with the lowest Dice of 3,000" in page


def test_metrics_that_do_not_exist_leave_gaps() -> None:
    nan = float("nan")
    rows = (Agreement("liver", 0, 0, nan, 2, nan, nan), Agreement("spleen", 1, 0, 0.0, 2, 0.0, float("inf")))
    summaries = tuple(summarise(row.name, [row], Bootstrap(10)) for row in rows)
    page = evaluation_page(Evaluation((CaseResult("a", "p", "t", rows),), summaries, (), (), Bootstrap(10)))  # type: ignore[arg-type]
    assert "nan" not in page.split("<body>")[1].split("<script>")[0]
    assert ">inf<" not in page
