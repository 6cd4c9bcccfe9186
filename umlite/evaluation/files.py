"""Evaluations as files: a row per case and class, a row per class and metric, and both as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from umlite import __version__
from umlite.evaluation.agreement import Agreement
from umlite.evaluation.evaluation import Evaluation
from umlite.outputs.file_set import together
from umlite.outputs.texts import csv_text, json_text

FILES = ("cases.csv", "cohort.csv", "evaluation.json")
_METRICS = (
    "truth_ml",
    "predicted_ml",
    "volume_error_ml",
    "volume_error_percent",
    "dice",
    "tolerance_mm",
    "nsd",
    "hd95_mm",
)
_COUNTS = ("truth", "found", "predicted", "false")


def write_evaluation(folder: Path, found: Evaluation, *, overwrite: bool = True) -> list[Path]:
    """Write FILES into a folder, which is made.

    In tables, a metric that does not exist is an empty cell, and an infinite one says inf.

    Raises:
        OutputError: the files cannot be written.
    """
    texts = (_case_table(found), _cohort_table(found), _json(found))
    with together(folder, overwrite=overwrite) as files:
        for name, text in zip(FILES, texts, strict=True):
            files.write_text(folder / name, text)
    return [folder / name for name in FILES]


def write_evaluation_page(path: Path, found: Evaluation, *, overwrite: bool = True) -> Path:
    """Write a page with plots and tables, in a folder that is made. Raises OutputError."""
    from umlite.evaluation.page import evaluation_page

    with together(path.parent, overwrite=overwrite) as files:
        files.write_text(path, evaluation_page(found))
    return path


def _json(found: Evaluation) -> str:
    return json_text({"umlite": __version__, **found.to_dict()})


def _case_table(found: Evaluation) -> str:
    columns = ["case", "class", *_METRICS, *(f"lesions_{count}" for count in _COUNTS)]
    return csv_text(columns, [[case.name, *_cells(row)] for case in found.cases for row in case.classes])


def _cells(row: Agreement) -> list[Any]:
    metrics = [_cell(getattr(row, name)) for name in _METRICS]
    counts = [getattr(row.lesions, name) if row.lesions else "" for name in _COUNTS]
    return [row.name, *metrics, *counts]


def _cohort_table(found: Evaluation) -> str:
    rows = [
        [summary.name, metric, *map(_cell, (value.value, value.low, value.high)), value.cases]
        for summary in found.summaries
        for metric, value in summary.estimates().items()
    ]
    return csv_text(["class", "metric", "value", "low", "high", "cases"], rows)


def _cell(value: float) -> str:
    return "" if value != value else f"{value:.6g}"
