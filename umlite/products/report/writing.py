"""Writes the report of one scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from umlite.files import output_error
from umlite.outputs.file_set import Files
from umlite.products.pictures.planes import planes_of
from umlite.products.report.content import ReportContent
from umlite.products.report.markup import Markup, element
from umlite.products.report.page import Page, write_page
from umlite.products.report.sections import (
    checks_section,
    folded,
    lesions_section,
    manifest_section,
    statistics_section,
)
from umlite.products.report.stack import BUDGET_BYTES, Picture, choose_size
from umlite.products.report.summary import summary_block
from umlite.products.report.text import sentences
from umlite.products.report.tones import Tones
from umlite.products.report.viewer import SCRIPTS, viewer_blocks, viewer_section


def write_report(files: Files, path: Path, content: ReportContent, budget_bytes: int = BUDGET_BYTES) -> None:
    """Write one HTML file that shows a scan, its masks, numbers and checks, and loads nothing from elsewhere.

    Pictures get as many pixels as the budget allows. A few planes of scan and masks are in memory at a time.

    Args:
        files: the set that it joins.
        path: the file, under the name that it will have.
        content: what it shows.
        budget_bytes: of its pictures.

    Raises:
        OutputError: the file cannot be written.
        InputError: the scan cannot be read again.
    """
    scan = content.result.scan
    tones = Tones.covering(scan.voxels.ends())
    size = choose_size(scan, tones, budget_bytes)
    body = [
        content.result.card.notice and element("p", element("strong", content.result.card.notice)),
        checks_section(content.checks),
        viewer_section(content),
        statistics_section(content),
        lesions_section(content),
        manifest_section(content.manifest),
        _about_section(content, size),
    ]
    page = Page(
        content.heading,
        body,
        SCRIPTS,
        under=sentences("page")["weights"].format(weights=content.result.card.name),
        summary=summary_block(content),
    )
    try:
        with files.new(path).open("w", encoding="utf-8", newline="") as file:
            write_page(file, page, viewer_blocks(content, size, tones))
    except OSError as error:
        raise output_error(error, path) from error


def _about_section(content: ReportContent, size: Picture) -> Markup:
    text = sentences("about")
    x, y, _ = content.result.scan.shape
    whole = size == (x, y)
    names = ["pictures_whole" if whole else "pictures_reduced", "tones", "sides", "coordinates"]
    axes = content.result.affine[:3, :3]
    along = np.abs(axes / np.linalg.norm(axes, axis=0))
    if any(abs(plane.lean_mm) > 1e-3 for plane in planes_of(content.result.affine)) or along.max(axis=0).min() < 0.999:
        names.append("tilted")
    gaps = {"columns": size[0], "rows": size[1], "x": x, "y": y}
    return folded(text["heading"], element("ul", (element("li", text[name].format(**gaps)) for name in names)))
