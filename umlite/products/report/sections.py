"""The parts of a report that are read: checks, tables of classes and lesions, the manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from umlite.classes import AnatomyClass
from umlite.products.report.content import Finding, ReportContent
from umlite.products.report.markup import Child, Markup, element
from umlite.products.report.text import sentences
from umlite.results.lesions import Lesion
from umlite.results.statistics import ClassStatistics


def section(heading: str, *children: Child, id_: str | None = None) -> Markup:
    """A section with a heading."""
    return element("section", element("h2", heading), children, id=id_)


def folded(heading: str, *children: Child) -> Markup:
    """A section that opens when its heading is pressed."""
    return element("section", element("details", element("summary", heading), children))


def swatch(one: AnatomyClass) -> Markup:
    """A square of the class's colour; an SVG, since the page's policy allows no style attributes."""
    square = element("rect", width=9, height=9, fill=f"rgb{one.color}")
    return element("svg", square, class_="swatch", viewBox="0 0 9 9", aria_hidden="true")


def table(headings: Sequence[tuple[str, bool]], rows: Sequence[Sequence[Markup]], caption: str) -> Markup:
    """A table that sorts. headings: text, and whether the column holds numbers."""
    head = [element("th", text, scope="col", class_="number" if numbers else None) for text, numbers in headings]
    return element(
        "div",
        element(
            "table",
            element("caption", caption, class_="hidden"),
            element("thead", element("tr", head)),
            element("tbody", (element("tr", row) for row in rows)),
            class_="sortable",
        ),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label=caption,
    )


def number(value: float | None, digits: int = 0) -> Markup:
    """A cell with a number; empty for None."""
    if value is None:
        return element("td", class_="number")
    return element("td", f"{value:,.{digits}f}", class_="number", data_value=f"{value:.6g}")


def pair(first: float | None, second: float | None, digits: int = 1) -> Markup:
    """A cell with two numbers that sorts by the first; empty without them."""
    if first is None or second is None:
        return element("td", class_="number")
    return element("td", f"{first:,.{digits}f}, {second:,.{digits}f}", class_="number", data_value=f"{first:.6g}")


def checks_section(checks: Sequence[Finding]) -> Markup:
    """What the checks found, before anything else."""
    text = sentences("checks")
    if not checks:
        return section(text["heading"], element("p", text["none"], class_="faint"), id_="checks")
    return section(text["heading"], element("ul", map(_check, checks), class_="checks"), id_="checks")


def statistics_section(content: ReportContent) -> Markup:
    """A row for each class."""
    text = sentences("statistics")
    columns = ("name", "volume_ml", "complete", "mean", "sd", "p5", "median", "p95", "components", "surface")
    headings = [(text[name], name not in ("name", "complete")) for name in columns]
    classes = {c.name: c for c in content.result.classes}
    rows = [_class_row(content, classes[one.name], one) for one in content.statistics.classes]
    return section(text["heading"], table(headings, rows, text["caption"]), id_="statistics")


def lesions_section(content: ReportContent) -> Markup:
    """A row for each lesion."""
    text = sentences("lesions")
    if not content.statistics.lesions:
        asked = any(c.kind == "tumor" for c in content.result.classes)
        words = text["none" if asked else "not_asked"]
        return section(text["heading"], element("p", words, class_="faint"), id_="lesions")
    columns = ("id", "volume_ml", "diameters", "slice", "slices", "diameter_mm", "mean_hu", "contrast_hu", "logit")
    headings = [(text[name], name != "id") for name in columns] + [(text[name], False) for name in ("host", "vessel")]
    rows = [_lesion_row(content, lesion) for lesion in content.statistics.lesions]
    return section(text["heading"], table(headings, rows, text["caption"]), id_="lesions")


def manifest_section(manifest: Mapping[str, Any]) -> Markup | None:
    """How the result was made, as a table of paths in the JSON and their values."""
    if not manifest:
        return None
    rows = [
        element("tr", element("th", element("code", name), scope="row"), element("td", value))
        for name, value in _leaves(manifest)
    ]
    inside = element("div", element("table", element("tbody", rows), class_="wide"), class_="scroll")
    return folded(sentences("manifest")["heading"], inside)


def _check(found: Finding) -> Markup:
    evidence = getattr(found, "evidence", None)
    shown = evidence if isinstance(evidence, str) else json.dumps(evidence, ensure_ascii=False, default=str)
    label = sentences("checks")["evidence"]
    more = element("details", element("summary", label), element("code", shown)) if evidence else None
    return element("li", element("code", found.code), " ", found.sentence, more, data_level=found.level)


def _jump(content: ReportContent, place_mm: Sequence[float], name: str, *, slice_: int | None = None) -> Markup:
    """A name that shows the voxel at a place, in a given slice."""
    voxel = content.voxel_at(place_mm)
    if slice_ is not None:
        voxel[content.statistics.slice_axis] = slice_
    return element("button", element("bdi", name), type="button", data_voxel=json.dumps(voxel))


def _class_row(content: ReportContent, one: AnatomyClass, found: ClassStatistics) -> list[Markup]:
    text = sentences("statistics")
    if found.hu is None or found.centroid_mm is None:
        name: Child = element("bdi", found.name)
        hu: list[Markup] = [number(None)] * 5
        state = text["not_found"]
    else:
        name = _jump(content, found.centroid_mm, found.name)
        hu = [number(value) for value in (found.hu.mean, found.hu.sd, found.hu.p5, found.hu.median, found.hu.p95)]
        state = text["cut"].format(faces=", ".join(found.cut_faces)) if found.cut_faces else text["yes"]
    return [
        element("td", swatch(one), " ", name),
        number(found.volume_ml, 1),
        element("td", state),
        *hu,
        number(found.components if found.voxels else None),
        number(found.surface_mm2 / 100 if found.voxels else None, 1),
    ]


def _lesion_row(content: ReportContent, lesion: Lesion) -> list[Markup]:
    text = sentences("lesions")
    host = lesion.host and text["inside"].format(host=lesion.host, percent=round(100 * lesion.host_share))
    vessel = None
    if lesion.nearest_vessel is not None and lesion.vessel_distance_mm is not None:
        vessel = text["distance"].format(vessel=lesion.nearest_vessel, mm=f"{lesion.vessel_distance_mm:.1f}")
    diameters = f"{lesion.axial_diameter_mm:.1f} x {lesion.perpendicular_mm:.1f}"
    return [
        element("td", _jump(content, lesion.centroid_mm, lesion.id, slice_=lesion.diameter_slice)),
        number(lesion.volume_ml, 2),
        element("td", diameters, class_="number", data_value=f"{lesion.axial_diameter_mm:.6g}"),
        number(lesion.diameter_slice),
        pair(lesion.first_slice, lesion.last_slice, 0),
        number(lesion.diameter_mm, 1),
        number(lesion.mean_hu),
        number(lesion.contrast_hu),
        pair(lesion.mean_logit, lesion.max_logit),
        element("td", host),
        element("td", vessel),
    ]


def _leaves(data: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Values of nested JSON with the path to each; lists of plain values are one."""
    found: list[tuple[str, str]] = []
    for name, value in data.items():
        path = f"{above}{name}"
        if isinstance(value, Mapping):
            found += _leaves(value, f"{path}.")
        elif isinstance(value, (list, tuple)) and any(isinstance(v, (Mapping, list, tuple)) for v in value):
            found += _leaves({str(i): v for i, v in enumerate(value)}, f"{path}.")
        elif isinstance(value, (list, tuple)) and value:
            found.append((path, ", ".join(map(str, value))))
        elif value not in (None, "", [], ()):
            found.append((path, str(value)))
    return found
