"""HTML whose text is escaped wherever it comes from."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from typing import Any

from umlite.terminal import plain

_VOID = {"br", "col", "img", "input", "meta"}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | None | Iterable["Child"]


def element(tag: str, *children: Child, **attributes: object) -> Markup:
    """An element, such as `element("a", name, href=address, data_row=3)`.

    Args:
        tag: its name.
        children: `Markup` as it is, other text escaped, None as nothing, or iterables of these.
        attributes: their values are escaped. True stands for an attribute without a value; None and False leave it out.
            An underscore in a name stands for a hyphen, one at the end for nothing (`class_`).
    """
    shown = "".join(
        f" {name.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{_escaped(str(value))}"')
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    inside = "".join(_flat(children))
    return Markup(f"<{tag}{shown}>" if tag in _VOID else f"<{tag}{shown}>{inside}</{tag}>")


def data_block(name: str, data: Any) -> Markup:
    """JSON that a script finds under the id `name`. No text in it can end the block or begin a comment."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(f'<script type="application/json" id="{name}">{text}</script>')


def _flat(children: Iterable[Child]) -> Iterable[str]:
    for child in children:
        if isinstance(child, Markup):
            yield child
        elif isinstance(child, str):
            yield _escaped(child)
        elif child is not None:
            yield from _flat(child)


def _escaped(text: str) -> str:
    return html.escape(plain(text))
