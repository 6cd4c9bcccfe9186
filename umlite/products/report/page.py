"""A page in one file: head, styles and scripts inside it, and a policy that lets it reach no network."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TextIO

from umlite import __version__
from umlite.products.report.markup import Child, Markup, element
from umlite.products.report.text import sentences

GENERATOR = "umlite report"
"""Marks every page, so that one of umlite's is told from others."""


@dataclass(frozen=True, eq=False)
class Page:
    """A page but for its data.

    Args:
        title: of the page, and its heading.
        body: sections.
        scripts: names of files in assets/, in the order in which they run.
        under: a line beside the heading.
        summary: a data block that stands at the start of the file.
    """

    title: str
    body: Sequence[Child]
    scripts: Sequence[str]
    under: str = ""
    summary: Markup | None = None


def write_page(file: TextIO, page: Page, blocks: Iterable[str] = ()) -> None:
    """Write a page. blocks: HTML of data blocks, written one by one as they come."""
    text = sentences("page")
    style, script = _asset("style.css"), _script(page.scripts)
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="generator", content=GENERATOR),
        element("title", page.title),
        page.summary,
        Markup(f"<style>{style}</style>"),
    )
    top = element(
        "header",
        element("h1", element("bdi", page.title)),
        element("span", page.under, class_="faint"),
        element("span", class_="spacer"),
        element(
            "button", text["theme"], id="theme", type="button", hidden=True, aria_pressed="false",
            aria_label=text["theme_help"],
        ),
    )  # fmt: skip
    bottom = element("footer", text["made_by"].format(version=__version__))
    file.write(
        f'<!DOCTYPE html>\n<html lang="{text["language"]}">{head}\n<body>\n{top}\n{element("main", page.body)}\n'
    )
    file.write(f"{bottom}\n")
    for block in blocks:
        file.write(block)
    file.write(f"\n<script>{script}</script>\n</body>\n</html>\n")


def page_text(page: Page) -> str:
    """A page without data blocks as text."""
    file = io.StringIO()
    write_page(file, page)
    return file.getvalue()


def _script(names: Sequence[str]) -> str:
    """Scripts in one scope of their own."""
    return "\n".join(['(() => {\n"use strict";', *map(_asset, names), "})();"])


def _asset(name: str) -> str:
    return files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
