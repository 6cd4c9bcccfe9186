"""The index of a folder of reports: a row for each, the ones with most warnings first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from umlite.files import output_error
from umlite.outputs.file_set import together
from umlite.products.report.markup import Child, Markup, element
from umlite.products.report.page import Page, write_page
from umlite.products.report.sections import number, section, table
from umlite.products.report.summary import MOST_BYTES, Summary, is_page, read_summary
from umlite.products.report.text import sentences

INDEX = "index.html"
SCRIPTS = ("page.js", "theme.js", "tables.js", "index.js")


def write_index(folder: Path) -> Path:
    """Write index.html for all reports of a folder, also those of earlier runs.

    Raises:
        OutputError: it cannot be written, or a report cannot be read.
    """
    path = folder / INDEX
    try:
        reports = [(file.name, read_summary(file)) for file in sorted(folder.glob("*.html")) if file.name != INDEX]
        rows = [(name, summary) for name, summary in reports if summary is not None]
        text = sentences("index")
        body = [section(text["heading"], _table(rows), id_="reports")]
        with together(folder) as files, files.new(path).open("w", encoding="utf-8", newline="") as file:
            write_page(file, Page(text["heading"], body, SCRIPTS, under=text["count"].format(count=len(rows))))
    except OSError as error:
        raise output_error(error, path) from error
    return path


def is_foreign_index(folder: Path) -> bool:
    """Whether the folder has an index.html that umlite did not write. Raises OSError where it cannot be read."""
    try:
        with (folder / INDEX).open("rb") as file:
            return not is_page(file.read(MOST_BYTES).decode("utf-8", "replace"))
    except FileNotFoundError:
        return False


def _table(reports: Sequence[tuple[str, Summary]]) -> Markup:
    text = sentences("index")
    names = list(dict.fromkeys(name for _, summary in reports for name in summary.volumes_ml))
    headings = [
        (text["scan"], False),
        (text["warnings"], True),
        (text["notes"], True),
        (text["picture"], False),
        (text["lesions"], True),
        *((text["volume"].format(name=name), True) for name in names),
    ]
    by_warnings = sorted(reports, key=lambda report: (-len(report[1].warnings), report[1].title))
    return table(headings, [_row(file, summary, names) for file, summary in by_warnings], text["caption"])


def _row(file: str, summary: Summary, names: Sequence[str]) -> list[Markup]:
    picture = f"data:image/webp;base64,{summary.picture}"
    return [
        element("td", element("a", element("bdi", summary.title), href=f"./{quote(file)}")),
        _told(summary.warnings),
        _told(summary.notes),
        element("td", element("img", src=picture, alt="") if summary.picture else None),
        number(summary.lesions),
        *(number(summary.volumes_ml.get(name), 1) for name in names),
    ]


def _told(checks: Sequence[tuple[str, str]]) -> Markup:
    """How many there are, and which when it is pressed."""
    rows = (element("li", element("code", code), " ", sentence) for code, sentence in checks)
    told: Child = element("details", element("summary", str(len(checks))), element("ul", rows)) if checks else "0"
    return element("td", told, class_="number", data_value=str(len(checks)))
