"""docs/versions.md names only what the package allows, and the versions that `make` installs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ASKED = [
    *PROJECT["dependencies"],
    *PROJECT["optional-dependencies"]["test"],
    f"Python{PROJECT['requires-python']}",
]


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


@pytest.mark.parametrize("name", ["torch", "Python", "Triton"])
def test_a_table_of_versions(name: str) -> None:
    text = (ROOT / "docs" / "versions.md").read_text()
    table = text.split(f"\n## {name}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d[\d.]+) \|", table, re.MULTILINE)
    floor = next(found[1] for line in ASKED if (found := re.match(rf"{name}>=([\d.]+)", line, re.IGNORECASE)))
    assert f"{name} {floor} or newer" in table
    assert rows == sorted(rows, key=numbers, reverse=True)
    assert numbers(rows[-1])[:2] == numbers(floor)  # the oldest has run
    pins = (ROOT / "constraints.txt").read_text()
    pinned = re.search(rf"^{name.lower()}==(\S+)$|on {name} ([\d.]+)", pins, re.MULTILINE)
    assert pinned is not None
    assert any(numbers(row)[: len(numbers(pinned[1] or pinned[2]))] == numbers(pinned[1] or pinned[2]) for row in rows)
