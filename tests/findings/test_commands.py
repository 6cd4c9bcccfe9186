"""Checks on the terminal, in JSON and in statistics.json; none where they are not wanted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from umlite.cli import app
from umlite.findings import CHECKS, Finding
from umlite.products.product import Finished
from umlite.products.wanted import Wanted


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> tuple[Finding, ...]:
    """Findings that every result has."""
    found = (
        *(Finding(f"code-{n}", "warning", f"Something is wrong {n}.", ("liver",), {"n": n}) for n in range(6)),
        Finding("contrast-phase", "note", "Contrast phase: native."),
    )
    monkeypatch.setattr("umlite.products.product.find", lambda _result, _statistics: found)
    return found


def run(weights: Path, scan: Path, folder: Path, *options: str) -> Result:
    arguments = ["segment", str(scan), "-c", "liver", "-o", str(folder), "--weights", str(weights), *options]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result


def test_doubts_on_the_terminal(small_weights: Path, scan_file: Path, tmp_path: Path) -> None:
    lines = [line for line in run(small_weights, scan_file, tmp_path).stderr.splitlines() if line.startswith("Check:")]
    assert lines[:4] == [f"Check: {scan_file.name}: Something is wrong {n}." for n in range(4)]
    assert lines[4:] == [f"Check: {scan_file.name}: 2 more checks doubt the result."]


def test_checks_in_json(small_weights: Path, scan_file: Path, tmp_path: Path, told: tuple[Finding, ...]) -> None:
    output = run(small_weights, scan_file, tmp_path, "--json", "--statistics").stdout
    (entry,) = json.loads(output)["scans"]
    expected = [finding.to_dict() for finding in told]
    assert entry["checks"] == entry["manifest"]["checks"] == expected
    assert json.loads((tmp_path / "statistics.json").read_text())["checks"] == expected


def test_no_checks(small_weights: Path, scan_file: Path, tmp_path: Path) -> None:
    result = run(small_weights, scan_file, tmp_path, "--json", "--statistics", "--no-checks")
    (entry,) = json.loads(result.stdout)["scans"]
    assert "checks" not in entry
    assert "Check:" not in result.stderr
    assert "checks" not in json.loads((tmp_path / "statistics.json").read_text())


def test_numbers_are_told_only_where_wanted(small_weights: Path, scan_file: Path, tmp_path: Path) -> None:
    (entry,) = json.loads(run(small_weights, scan_file, tmp_path, "--json").stdout)["scans"]
    assert "statistics" not in entry
    assert entry["checks"]


def test_a_scan_that_is_gone_costs_no_result(small_weights: Path, scan_file: Path, monkeypatch) -> None:
    from umlite import Segmenter
    from umlite.errors import InputError

    def gone(_result: object) -> None:
        raise InputError("No such file.")

    monkeypatch.setattr("umlite.products.product.measure", gone)
    finished = Finished(Segmenter(small_weights, device="cpu").segment(scan_file, "liver"), wanted=Wanted())
    assert [finding.code for finding in finished.findings] == ["not-judged"]
    assert "not-judged" in {check.code for check in CHECKS}
