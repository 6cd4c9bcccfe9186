from __future__ import annotations

import json
from pathlib import Path

import pytest

from recipes.demo_weights.evaluate import evaluate, format_table
from umlite.errors import InputError


def test_table_names_what_it_has() -> None:
    summary = {"liver": {"mean": 0.9, "sd": 0.01, "min": 0.85, "count": 20}}
    lines = format_table(summary, {"liver": 0.91, "aorta": 0.7}).splitlines()
    assert lines[1].split() == ["liver", "0.900", "0.010", "0.850", "20", "0.910"]
    assert lines[2].split() == ["aorta", "0.700"]


def test_report_holds_the_classes_of_the_scan(small_weights: Path, data: Path, tmp_path: Path) -> None:
    table = evaluate(small_weights, 0, data, tmp_path / "report.json")
    fit = json.loads((tmp_path / "report.json").read_text())["fit_example_ct"]
    assert set(fit) == {"liver", "spleen", "left_kidney", "right_kidney"}
    assert all(0 <= score <= 1 for score in fit.values())
    assert all(name in table for name in fit)


def test_folder_without_the_scan_is_refused(small_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="example_structures"):
        evaluate(small_weights, 0, tmp_path, tmp_path / "report.json")
