"""docs/versions.md names only what the package allows, and the versions that `make` installs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def test_the_table_of_torch_versions() -> None:
    text = (ROOT / "docs" / "versions.md").read_text()
    rows = re.findall(r"^\| (\d+\.\d+\.\d+) \|", text, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    floor = next(one.split(">=")[1] for one in project["dependencies"] if one.startswith("torch>="))
    assert f"torch {floor} or newer" in text
    assert rows
    assert all(numbers(version) >= numbers(floor) for version in rows)
    pinned = re.search(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert pinned[1] in rows
