"""The viewer of a report: its controls as HTML, and the data that its scripts read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from umlite.classes import KINDS, AnatomyClass
from umlite.products.pictures.planes import Plane, planes_of
from umlite.products.report.content import ReportContent
from umlite.products.report.markup import Markup, data_block, element
from umlite.products.report.sections import section, swatch
from umlite.products.report.stack import Patterns, Picture, pictures
from umlite.products.report.text import sentences
from umlite.products.report.tones import Tones
from umlite.terminal import plain

WINDOWS = {
    "soft_tissue": (40, 400),
    "liver": (80, 180),
    "vessels": (200, 600),
    "lung": (-600, 1500),
    "bone": (400, 1800),
}
"""Level and width in HU of each preset."""
FIRST = "soft_tissue"
"""The window that is shown at first, but for scans of few HU."""
SCRIPTS = (
    *("page.js", "theme.js", "tables.js", "tones.js", "stack.js", "paint.js", "plane.js", "viewer.js"),
    *("input.js", "controls.js", "report.js"),
)


def painting_order(classes: Sequence[AnatomyClass]) -> list[AnatomyClass]:
    """Classes in the order in which they are painted: lesions over vessels over organs."""
    return sorted(classes, key=lambda c: KINDS.index(c.kind))


def viewer_section(content: ReportContent) -> Markup:
    """Three planes with a slider each, and the panel of windows and classes."""
    text = sentences("planes")
    figures = [_figure(plane) for plane in planes_of(content.result.affine)]
    return section(
        text["heading"],
        element("noscript", element("p", sentences("page")["no_script"])),
        element("p", id="loading", role="status", class_="faint"),
        element("div", *figures, _panel(content), class_="planes"),
        element("p", text["keys"], class_="faint keys"),
        id_="viewer",
    )


def viewer_blocks(content: ReportContent, size: Picture, tones: Tones) -> Iterator[str]:
    """Data blocks: the pictures, a line for each stored plane, then what the viewer must know of them.

    Raises:
        InputError: the scan cannot be read again.
    """
    result = content.result
    order = painting_order(result.classes)
    patterns = Patterns([c.name for c in order])
    yield '<script type="text/plain" id="pictures">\n'
    for pair in pictures(result.scan, result.masks, tones, size, patterns):
        yield f"{pair.tones} {pair.masks}\n"
    yield "</script>\n"
    yield data_block("sentences", sentences("viewer"))
    yield data_block("scan", _about(content, size, tones, order, patterns))


def _about(
    content: ReportContent, size: Picture, tones: Tones, order: Sequence[AnatomyClass], patterns: Patterns
) -> dict[str, Any]:
    result = content.result
    return {
        "shape": result.scan.shape,
        "size": size,
        "knots": tones.knots,
        "affine": result.affine[:3].tolist(),
        "planes": [plane.to_dict() for plane in planes_of(result.affine)],
        "classes": [{"name": plain(c.name), "color": c.color, "bit": bit} for bit, c in enumerate(order)],
        "sets": [[bits >> first & 0xFFFFFFFF for first in range(0, len(order), 32)] for bits in patterns.sets],
        "start": _start(content),
        "window": {"level": WINDOWS[FIRST][0], "width": WINDOWS[FIRST][1]} if tones == Tones() else None,
    }


def _start(content: ReportContent) -> list[int]:
    """The voxel that is shown first: in the largest lesion, else amid all organs, else in the middle of the scan."""
    lesions = content.statistics.lesions
    if lesions:
        largest = max(lesions, key=lambda lesion: lesion.volume_ml)
        voxel = content.voxel_at(largest.centroid_mm)
        voxel[content.statistics.slice_axis] = largest.diameter_slice
        return voxel
    found = [(c.centroid_mm, c.voxels) for c in content.statistics.classes if c.centroid_mm is not None]
    if found:
        places, weights = zip(*found, strict=True)
        return content.voxel_at(np.average(places, axis=0, weights=weights).tolist())
    return [n // 2 for n in content.result.scan.shape]


def _figure(plane: Plane) -> Markup:
    text = sentences("planes")
    name = text[plane.name]
    return element(
        "figure",
        element(
            "canvas", id=f"plane_{plane.name}", tabindex=0, role="application",
            aria_label=text["plane_help"].format(plane=name),
        ),
        element(
            "figcaption",
            element("span", name),
            element(
                "input", type="range", id=f"slice_{plane.name}", min=0, value=0,
                aria_label=text["slider"].format(plane=name),
            ),
            element("span", id=f"number_{plane.name}"),
        ),
    )  # fmt: skip


def _panel(content: ReportContent) -> Markup:
    return element(
        "div",
        element("output", id="readout"),
        element("div", id="announcement", class_="hidden", aria_live="polite"),
        _window_row(),
        _style_row(),
        _class_list(content),
        class_="panel controls",
    )


def _window_row() -> Markup:
    text = sentences("planes")
    presets = [
        element("option", text["own_window"]),
        *(
            element("option", text[name], data_window=json.dumps({"level": level, "width": width}))
            for name, (level, width) in WINDOWS.items()
        ),
        element("option", text["whole_window"], data_window=json.dumps("whole")),
    ]
    return element(
        "div",
        element("label", text["window"], element("select", presets, id="window")),
        element("label", text["level"], element("input", type="number", id="level")),
        element("label", text["width"], element("input", type="number", id="width")),
        class_="row",
    )


def _style_row() -> Markup:
    text = sentences("planes")
    return element(
        "div",
        element("label", element("input", type="radio", name="style", id="outlined", checked=True), text["outlined"]),
        element("label", element("input", type="radio", name="style", id="filled"), text["filled"]),
        element(
            "label", text["opacity"], element("input", type="range", id="opacity", min=0, max=100, step=5, value=100)
        ),
        class_="row",
        role="group",
        aria_label=text["style"],
    )


def _class_list(content: ReportContent) -> Markup:
    """A box for each class; those that were not found are off."""
    text = sentences("planes")
    bits = {c.name: bit for bit, c in enumerate(painting_order(content.result.classes))}
    voxels = {one.name: one.voxels for one in content.statistics.classes}
    boxes = [
        element(
            "label",
            element(
                "input", type="checkbox", data_bit=bits[c.name], checked=voxels[c.name] > 0,
                disabled=not voxels[c.name],
            ),
            swatch(c),
            element("bdi", c.name, class_="name", title=c.name),
            None if voxels[c.name] else element("span", f"({text['empty']})", class_="faint"),
        )
        for c in content.result.classes
    ]  # fmt: skip
    buttons = [element("button", text[name], type="button", id=name) for name in ("all_on", "all_off")]
    return element(
        "fieldset",
        element("legend", text["classes"]),
        element("div", buttons, class_="row"),
        element("div", boxes, class_="list"),
        id="classes",
    )
