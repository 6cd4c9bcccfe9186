"""The benchmark of report pages runs from end to end, and its last line is JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench import pages


def test_pages(scan_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["pages", str(scan_file), "--slices", "45", "--whole"])
    pages.main()
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["voxels"] for row in report["pages"]] == ["40x36x30", "40x36x45"]
    assert 0 < report["pages"][0]["megabytes"] < report["pages"][1]["megabytes"] < 1
