"""What README and docs say is checked here. `python tests/test_docs.py` rewrites the generated parts."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]

PAGES = ["README.md", "AGENTS.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


def class_page() -> str:
    """docs/classes.md, from the class table."""
    from umlite.classes import GROUPS, PUBLISHED

    lines = [
        "# Classes",
        "",
        "A request may use these names, aliases, numbers or groups, in any case, with spaces, dashes or underscores.",
        "Numbers are the published ones and the voxel values of a label map. Made from `umlite/classes.py`.",
        "",
        "| number | name | published name | kind | host organ | aliases |",
        "|---|---|---|---|---|---|",
    ]
    for c in PUBLISHED:
        hosts, aliases = ", ".join(c.hosts), ", ".join(c.aliases)
        lines.append(f"| {c.index} | {c.name} | {c.published} | {c.kind} | {hosts} | {aliases} |")
    lines += ["", "| group | classes |", "|---|---|"]
    lines += [f"| {name} | {', '.join(members)} |" for name, members in GROUPS.items()]
    return "\n".join(lines) + "\n"


def help_block() -> str:
    """The text block of docs/segment.md with the help of `umlite segment`."""
    from umlite.cli import app

    text = CliRunner().invoke(app, ["segment", "--help"], prog_name="umlite", env={"COLUMNS": "80"}).stdout
    return f"```text\n{text.strip()}\n```"


def with_help(page: str) -> str:
    """A page with the current help in the place of an older one."""
    return re.sub(r"```text\nUsage: umlite segment.*?\n```", lambda _: help_block(), page, flags=re.S)


def test_class_page_is_the_class_table() -> None:
    assert (ROOT / "docs" / "classes.md").read_text() == class_page()


def test_the_page_of_segment_shows_its_help() -> None:
    assert help_block() in (ROOT / "docs" / "segment.md").read_text()


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 1300


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_pages_exist(page: str) -> None:
    from umlite.cli import app, weights_app

    names = {c.name or c.callback.__name__ for c in app.registered_commands} | {"weights"}
    below = {c.name for c in weights_app.registered_commands}
    text = (ROOT / page).read_text()
    code = "\n".join(re.findall(r"```sh\n(.*?)```", text, flags=re.S) + re.findall(r"`([^`\n]+)`", text))
    for command, second in re.findall(r"^umlite ([a-z]+)(?: ([a-z]+))?", code, flags=re.M):
        assert command in names, command
        if command == "weights":
            assert second in below, second


def test_tests_mirror_the_package() -> None:
    folders = [path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("*") if path.is_dir()]
    for folder in folders:
        if folder.parts[0] != "support" and folder.name != "__pycache__":
            assert (ROOT / "umlite" / folder).is_dir() or (ROOT / folder).is_dir(), folder


def test_logs_are_dated_newest_first_with_a_verdict() -> None:
    for page in (ROOT / "LOG.md", ROOT / "recipes" / "demo_weights" / "LOG.md"):
        headings = re.findall(r"^## (.*)$", page.read_text(), flags=re.M)
        matches = [re.fullmatch(r"(\d{4}-\d\d-\d\d)  \S.*  \((kept|dropped|measured)\)", h) for h in headings]
        assert all(matches), [h for h, m in zip(headings, matches, strict=True) if not m]
        dates = [m[1] for m in matches if m]
        assert dates == sorted(dates, reverse=True), page


def test_paths_in_contributing_exist() -> None:
    paths = re.findall(r"`((?:umlite|tests|bench|recipes|docs)/[^\s`]*)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(paths) > 40
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert not missing, missing


def test_links_lead_somewhere() -> None:
    rooms = [ROOT / name for name in ("docs", "bench", "recipes")]
    for page in [*ROOT.glob("*.md"), *(page for room in rooms for page in room.rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    (ROOT / "docs" / "classes.md").write_text(class_page())
    page = ROOT / "docs" / "segment.md"
    page.write_text(with_help(page.read_text()))
