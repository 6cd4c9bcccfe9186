"""Values between 0 and 1 as SVG: a strip for each class, with a dot per case and a box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from umlite.products.report.markup import Markup, element

MOST_DOTS = 100
"""Dots of a strip. Where there are more cases, those beyond the whiskers are drawn, the lowest first."""
_LEFT, _WIDTH, _RIGHT, _ROW, _TOP = 190, 560, 20, 26, 24
_BOX = 12
_LONGEST_NAME = 28


@dataclass(frozen=True)
class Strip:
    """One class.

    Args:
        name: its name.
        values: name and value of every case.
    """

    name: str
    values: Sequence[tuple[str, float]]


def plot(title: str, strips: Sequence[Strip]) -> Markup:
    """An SVG that scales with the page and follows its colours. title: what a screen reader says first."""
    height = _TOP + _ROW * len(strips) + 8
    axis = [_tick(share / 5, height) for share in range(6)]
    rows = [_row(strip, _TOP + _ROW * number + _ROW / 2) for number, strip in enumerate(strips)]
    size = f"0 0 {_LEFT + _WIDTH + _RIGHT} {height}"
    drawing = element(
        "svg", element("title", title), axis, rows, role="img", aria_label=title, viewBox=size, width="100%"
    )
    return element("figure", drawing)


def _tick(share: float, height: float) -> list[Markup]:
    x = _x(share)
    line = element("line", x1=x, x2=x, y1=_TOP, y2=height - 8, stroke="currentColor", stroke_opacity=0.2)
    return [
        line,
        element("text", f"{share:g}", x=x, y=_TOP - 8, text_anchor="middle", font_size=12, fill="currentColor"),
    ]


def _row(strip: Strip, y: float) -> Markup:
    short = strip.name if len(strip.name) <= _LONGEST_NAME else f"{strip.name[: _LONGEST_NAME - 3]}..."
    label = element("text", short, x=_LEFT - 10, y=y + 4, text_anchor="end", font_size=12, fill="currentColor")
    if not strip.values:
        return element("g", label)
    numbers = np.array([value for _, value in strip.values])
    low, first, median, third, high = np.percentile(numbers, (5, 25, 50, 75, 95)).tolist()
    summary = f"{strip.name}: {len(numbers)} cases, median {median:.3f}, quartiles {first:.3f} and {third:.3f}"
    top, bottom = y - _BOX / 2, y + _BOX / 2
    dots = [_dot(f"{case}: {value:.3f}", value, y) for case, value in _drawn(strip, low, high)]
    shape = {"stroke": "currentColor", "fill": "none"}
    box = element("rect", x=_x(first), y=top, width=max(_x(third) - _x(first), 0.5), height=_BOX, **shape)
    whiskers = [element("line", x1=_x(a), x2=_x(b), y1=y, y2=y, **shape) for a, b in ((low, first), (third, high))]
    middle = element("line", x1=_x(median), x2=_x(median), y1=top, y2=bottom, stroke_width=3, **shape)
    return element("g", element("title", summary), label, dots, box, whiskers, middle)


def _dot(words: str, value: float, y: float) -> Markup:
    return element("circle", element("title", words), cx=_x(value), cy=y, r=3, fill="currentColor", fill_opacity=0.35)


def _drawn(strip: Strip, low: float, high: float) -> list[tuple[str, float]]:
    if len(strip.values) <= MOST_DOTS:
        return list(strip.values)
    return sorted((pair for pair in strip.values if not low <= pair[1] <= high), key=lambda pair: pair[1])[:MOST_DOTS]


def _x(share: float) -> float:
    return round(_LEFT + _WIDTH * min(max(share, 0.0), 1.0), 2)
