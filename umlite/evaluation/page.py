"""An evaluation as a page for a browser, in the style of the report: metrics of every class as plots and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

from umlite.evaluation.agreement import Agreement
from umlite.evaluation.cohort import Estimate, Summary
from umlite.evaluation.evaluation import Evaluation
from umlite.evaluation.plot import Strip, plot
from umlite.products.report.index import SCRIPTS
from umlite.products.report.markup import Markup, element
from umlite.products.report.page import Page, page_text
from umlite.products.report.sections import number, section, table

MOST_ROWS = 2000
"""Rows of the table of cases: the ones with the lowest Dice. All are in cases.csv."""
_PLOTS = {"dice": "Dice", "nsd": "Normalised surface distance"}
_READING = (
    "A dot is a case. The box runs from the first to the third quartile, the bold line is the median, and whiskers "
    "reach the 5th and the 95th percentile."
)


def evaluation_page(found: Evaluation) -> str:
    """One HTML file that needs no network. All names in it are escaped."""
    body = [section(words, element("p", _READING), _plot(found, metric, words)) for metric, words in _PLOTS.items()]
    body.append(section("Classes", _class_table(found.summaries)))
    lesions = [summary for summary in found.summaries if summary.lesions is not None]
    if lesions:
        body.append(section("Lesions and patients", _lesion_table(lesions)))
    body.append(section("Cases", *_cases(found)))
    told = [*found.warnings, *found.errors]
    if told:
        body.insert(0, section("Left out", element("ul", [element("li", line) for line in told], class_="checks")))
    count = len(found.cases)
    under = f"{count} case{'s' if count != 1 else ''}; means with 95 % confidence intervals"
    return page_text(Page("Masks against the truth", body, SCRIPTS, under=under))


def _plot(found: Evaluation, metric: str, words: str) -> Markup:
    strips = []
    for summary in found.summaries:
        values = [
            (case.name, value)
            for case in found.cases
            for row in case.classes
            if row.name == summary.name and math.isfinite(value := getattr(row, metric))
        ]
        strips.append(Strip(summary.name, values))
    return plot(f"{words} of every case, by class", strips)


def _class_table(summaries: Sequence[Summary]) -> Markup:
    columns = ("Dice", "NSD", "HD95 (mm)", "volume error (ml)", "volume error (%)")
    headings = [("class", False), ("cases", True), *((name, True) for name in columns)]
    rows = [
        [
            element("td", s.name),
            number(s.cases),
            *(
                _estimate(e, n)
                for e, n in zip(
                    (s.dice, s.nsd, s.hd95_mm, s.volume_error_ml, s.volume_error_percent), (3, 3, 1, 1, 1), strict=True
                )
            ),
        ]
        for s in summaries
    ]
    return table(headings, rows, "Means of every class, with confidence intervals")


def _lesion_table(summaries: Sequence[Summary]) -> Markup:
    columns = ("true", "found", "sensitivity", "false per scan", "patients found", "specificity")
    headings = [("class", False), *((name, True) for name in columns)]
    rows = []
    for summary in summaries:
        assert summary.lesions is not None
        counts = [number(summary.lesions.truth), number(summary.lesions.found)]
        rates = (summary.lesions.sensitivity, summary.lesions.false_per_scan, summary.sensitivity, summary.specificity)
        rows.append([element("td", summary.name), *counts, *(_estimate(rate, 2) for rate in rates)])
    return table(headings, rows, "Lesions and patients found")


def _cases(found: Evaluation) -> tuple[Markup | None, Markup]:
    """A sentence where rows are left out, and the table of cases."""
    rows = [(case.name, row) for case in found.cases for row in case.classes]
    left_out = None
    if len(rows) > MOST_ROWS:
        left_out = element("p", f"The {MOST_ROWS:,} rows with the lowest Dice of {len(rows):,} are here.")
        rows = sorted(rows, key=lambda pair: pair[1].dice if math.isfinite(pair[1].dice) else math.inf)[:MOST_ROWS]
    columns = ("Dice", "NSD", "HD95 (mm)", "truth (ml)", "predicted (ml)")
    headings = [("case", False), ("class", False), *((name, True) for name in columns)]
    return left_out, table(headings, [_case_row(name, row) for name, row in rows], "Metrics of every case and class")


def _case_row(name: str, row: Agreement) -> list[Markup]:
    values = ((row.dice, 3), (row.nsd, 3), (row.hd95_mm, 1), (row.truth_ml, 1), (row.predicted_ml, 1))
    cells = [number(value if math.isfinite(value) else None, digits) for value, digits in values]
    return [element("td", element("bdi", name)), element("td", row.name), *cells]


def _estimate(estimate: Estimate, digits: int) -> Markup:
    if math.isnan(estimate.value):
        return number(None)
    return element("td", estimate.words(digits), class_="number", data_value=f"{estimate.value:.6g}")
