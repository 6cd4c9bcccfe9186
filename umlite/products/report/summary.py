"""What the index of a folder shows of each report: a data block at the start of the report's file."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from umlite.products.pictures.drawing import draw_slice, read_slices, size_mm, window_of
from umlite.products.pictures.planes import planes_of
from umlite.products.pictures.views import choose_views
from umlite.products.report.content import ReportContent
from umlite.products.report.markup import Markup, data_block
from umlite.products.report.page import GENERATOR

MOST_BYTES = 1 << 18
"""Bytes to read at the start of a report, where its summary stands."""
_BLOCK = re.compile(r'<script type="application/json" id="summary">(.*?)</script>', re.S)
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_PICTURE_PIXELS = 120
_MOST_CHECKS = 50


@dataclass(frozen=True)
class Summary:
    """A report in a line.

    Args:
        title: of the report.
        checks: level, code and sentence of what the checks found.
        lesions: how many there are.
        volumes_ml: volume of each class that was found.
        picture: WebP as base64.
    """

    title: str
    checks: tuple[tuple[str, str, str], ...]
    lesions: int
    volumes_ml: dict[str, float]
    picture: str

    @property
    def warnings(self) -> list[tuple[str, str]]:
        """Code and sentence of each warning."""
        return [(code, sentence) for level, code, sentence in self.checks if level == "warning"]

    @property
    def notes(self) -> list[tuple[str, str]]:
        """Code and sentence of everything else that the checks found."""
        return [(code, sentence) for level, code, sentence in self.checks if level != "warning"]


def summary_block(content: ReportContent) -> Markup:
    """The summary of a report as its file holds it. Raises InputError where the scan cannot be read again."""
    found = {one.name: round(one.volume_ml, 1) for one in content.statistics.classes if one.voxels}
    summary = {
        "title": content.heading,
        "checks": [[one.level, one.code, one.sentence] for one in content.checks[:_MOST_CHECKS]],
        "lesions": len(content.statistics.lesions),
        "volumes_ml": found,
        "picture": _picture(content),
    }
    return data_block("summary", summary)


def read_summary(path: Path) -> Summary | None:
    """The summary of a report; None for a file that is no report. Raises OSError.

    Nothing in the file is trusted: it may come from elsewhere.
    """
    with path.open("rb") as file:
        start = file.read(MOST_BYTES).decode("utf-8", "replace")
    block = _BLOCK.search(start)
    if block is None or not is_page(start):
        return None
    try:
        return _checked(json.loads(block[1]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def is_page(start: str) -> bool:
    """Whether a file that starts like this is a page of umlite."""
    return f'content="{GENERATOR}"' in start


def _checked(data: dict[str, Any]) -> Summary:
    picture = str(data["picture"])
    return Summary(
        title=str(data["title"]),
        checks=tuple((str(level), str(code), str(sentence)) for level, code, sentence in data["checks"]),
        lesions=int(data["lesions"]),
        volumes_ml={str(name): float(ml) for name, ml in data["volumes_ml"].items()},
        picture=picture if _BASE64.fullmatch(picture) else "",
    )


def _picture(content: ReportContent) -> str:
    """The axial and the coronal slice that show most classes, side by side, small."""
    result = content.result
    middle = choose_views(result, 1).middle
    planes = planes_of(result.affine)[:2]
    slices = read_slices(result, [(plane.across, middle[plane.across]) for plane in planes])
    panels = []
    for plane in planes:
        scale = _PICTURE_PIXELS / max(size_mm(plane, result.scan.shape))
        panels.append(
            draw_slice(slices[plane.across, middle[plane.across]], plane, result.classes, scale, window_of(result.scan))
        )
    whole = Image.new("RGB", (sum(panel.width for panel in panels) + 4, max(panel.height for panel in panels)))
    whole.paste(panels[0], (0, 0))
    whole.paste(panels[1], (panels[0].width + 4, 0))
    file = io.BytesIO()
    whole.save(file, format="WEBP", quality=75)
    return base64.b64encode(file.getvalue()).decode("ascii")
