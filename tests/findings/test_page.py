"""docs/checks.md has the tables of the code. `python tests/findings/test_page.py` rewrites them."""

from __future__ import annotations

import re
from pathlib import Path

from umlite.findings import CHECKS
from umlite.findings.ranges import RANGES

PAGE = Path(__file__).parents[2] / "docs" / "checks.md"


def table_of_checks() -> str:
    rows = [f"| `{c.code}` | {c.level} | {c.threshold} | {c.reason} |" for c in CHECKS]
    return "\n".join(["| code | level | applies where | why this threshold |", "|---|---|---|---|", *rows])


def table_of_ranges() -> str:
    def span(pair: tuple[float, float] | None) -> str:
        return "" if pair is None else f"{pair[0]:g} to {pair[1]:g}"

    rows = [f"| {name} | {span(r.volume_ml)} | {span(r.median_hu)} | {r.source} |" for name, r in RANGES.items()]
    return "\n".join(["| class | volume, ml | median HU | source |", "|---|---|---|---|", *rows])


def rewritten(page: str) -> str:
    for table in (table_of_checks(), table_of_ranges()):
        head = re.escape(table.splitlines()[0])
        page = re.sub(rf"{head}\n(\|.*\n)*", lambda _, text=table: text + "\n", page)
    return page


def test_tables_are_those_of_the_code() -> None:
    page = PAGE.read_text()
    assert table_of_checks() in page
    assert table_of_ranges() in page


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text()))
