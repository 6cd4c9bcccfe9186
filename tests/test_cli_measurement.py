"""`umlite plan`, `verify` and `bench` as their users meet them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.command_line import run
from umlite.checks.verification import DEFAULT_TOLERANCE
from umlite.cost import measuring as measuring


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMLITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(measuring, "SECONDS", 0.0)
    monkeypatch.setattr(measuring, "SIDE", 40)
    monkeypatch.chdir(tmp_path)


def test_plan(scan_file: Path, small_weights: Path, tmp_path: Path) -> None:
    base = ("plan", scan_file, "--weights", small_weights, "-c", "liver", "--kernels", "torch")
    first = run(*base)
    assert "Calibrating" in first.stderr
    assert "windows" in first.stdout
    again = run(*base, "--json")
    assert again.stderr == ""
    data = json.loads(again.stdout)
    assert data["windows"] > 1
    assert data["seconds"] > 0
    assert data["peak_gb"] > 0
    fitting = json.loads(run(*base, "--json", "--max-ram", "1000").stdout)
    assert fitting["fits"]
    assert fitting["classes_that_fit"] == 1
    assert "more than the 10 MB allowed" in run(*base, "--max-ram", "10MB", code=2).stdout
    assert "found '-1'. (--max-ram)" in run(*base, "--max-ram", "-1", code=2).stderr
    assert [p.name for p in tmp_path.iterdir()] == ["cache"]


def test_verify(scan_file: Path, small_weights: Path) -> None:
    base = ("verify", scan_file, "--weights", small_weights, "-c", "liver", "--sample", "2")
    assert "within the tolerance" in run(*base).stdout
    data = json.loads(run(*base, "--json").stdout)
    assert data["passed"]
    assert data["tolerance"] == DEFAULT_TOLERANCE
    assert data["windows_compared"] == 2
    assert "BEYOND" in run(*base, "--tolerance", "0", code=1).stdout


def test_bench(scan_file: Path, small_weights: Path) -> None:
    base = ("bench", scan_file, "--weights", small_weights, "-c", "liver", "--repeats", "1")
    assert "postprocess" in run(*base).stdout
    data = json.loads(run(*base, "--against", "monai", "--reference-windows", "2", "--json").stdout)
    assert data["ratio"] > 0
    assert data["reference"]["extrapolated"]
    assert "--against monai" in run(*base, "--against", "other", code=2).stderr
