"""One browser and one report for all tests of report pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.chromium import Browser, browser, program
from support.pages import READY
from support.reports import Found, save_report, small_result


@pytest.fixture(scope="session")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if program() is None:
        pytest.skip("needs Chromium (Debian's chromium-headless-shell)")
    with browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    checks = [Found("cut", "The scan cuts the liver.", {"faces": ["superior"]})]
    path = tmp_path_factory.mktemp("report") / "scan.html"
    return save_report(path, small_result(), checks=checks, manifest={"weights": {"name": "small"}})


@pytest.fixture
def page(window: Browser, report: Path) -> Browser:
    """The report, freshly opened and all unpacked."""
    window.view(1200, 1000)
    window.open(report)
    window.wait(READY)
    window.painted()
    return window
