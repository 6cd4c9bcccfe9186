"""A comparison as a page for a browser, in the style of the report."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from umlite.comparison import words
from umlite.comparison.comparison import Comparison
from umlite.comparison.verdicts import LEAST_CHANGE_MM, VOLUME_FACTOR
from umlite.products.report.index import SCRIPTS
from umlite.products.report.markup import Markup, element
from umlite.products.report.page import Page, page_text
from umlite.products.report.sections import section, table

_RULE = (
    f"A lesion grows or shrinks where its volume changes by a factor of {VOLUME_FACTOR:g}, or its longest axial "
    f"diameter by a fifth and at least {LEAST_CHANGE_MM:g} mm. Sizes of several lesions are added. "
    "Research software, not a medical device."
)


def comparison_page(found: Comparison) -> str:
    """One HTML file that needs no network. All names in it are escaped."""
    first, second = found.paths
    body = [
        section(
            "Alignment",
            element("p", "A: ", element("bdi", str(first)), element("br"), "B: ", element("bdi", str(second))),
            element("p", words.alignment_sentence(found)),
            element("ul", [element("li", warning) for warning in found.warnings], class_="checks")
            if found.warnings
            else None,
        )
    ]
    if found.changes:
        lesions = _table(
            words.LESION_COLUMNS, words.lesion_rows(found), words.RIGHT["lesions"], "What became of lesions"
        )
        sums = _table(words.SUM_COLUMNS, words.sum_rows(found), words.RIGHT["sums"], "Sums over lesions of a class")
        body += [section("Lesions", element("p", _RULE), lesions), section("Sums", sums)]
    if found.organs:
        organs = _table(words.ORGAN_COLUMNS, words.organ_rows(found), words.RIGHT["organs"], "Volumes of organs")
        body.append(section("Organs", organs))
    return page_text(Page("Two scans of one patient", body, SCRIPTS))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int], caption: str) -> Markup:
    headings = [(name, number in right) for number, name in enumerate(columns)]
    return table(
        headings,
        [[_cell(text, numeric) for text, (_, numeric) in zip(row, headings, strict=True)] for row in rows],
        caption,
    )


def _cell(text: str, numeric: bool) -> Markup:
    if not numeric:
        return element("td", text)
    if text == "-":
        return element("td", class_="number")
    return element("td", text, class_="number", data_value=text.replace(",", "").lstrip("+"))
