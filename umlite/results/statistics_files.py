"""Statistics as files: tables for a spreadsheet and one JSON file for programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from umlite import __version__
from umlite.outputs.file_set import Files
from umlite.outputs.texts import csv_text, json_text
from umlite.results.lesions import Lesion
from umlite.results.statistics import Statistics

_CLASS_COLUMNS = (
    ["name", "voxels", "volume_ml", "complete", "cut_faces"]
    + [f"{name}_hu" for name in ("mean", "sd", "minimum", "p5", "median", "p95", "maximum")]
    + [f"{end}_voxel_{axis}" for end in ("first", "last") for axis in "xyz"]
    + [*(f"centroid_mm_{axis}" for axis in "xyz"), "components", "largest_share", "surface_mm2"]
)


def write_statistics(files: Files, paths: Sequence[Path], found: Statistics, about: dict[str, Any]) -> list[Path]:
    """Write a table of classes, a table of lesions, and one JSON file with both.

    The table of lesions has its header alone where there is none.

    Args:
        files: the set that they join.
        paths: of the three, in this order.
        found: what is written.
        about: what else the JSON file says, such as the names of scan and weights.

    Raises:
        OutputError: the files cannot be written.
    """
    content = {"umlite": __version__, **about, **found.to_dict()}
    texts = (
        csv_text(_CLASS_COLUMNS, [_class_row(row) for row in content["classes"]]),
        _lesion_table(content["lesions"]),
        json_text(content),
    )
    for path, text in zip(paths, texts, strict=True):
        files.write_text(path, text)
    return list(paths)


def _class_row(row: dict[str, Any]) -> list[Any]:
    hu = row["hu"].values() if row["hu"] else [None] * 7
    places = [row[name] or [None] * 3 for name in ("first_voxel", "last_voxel", "centroid_mm")]
    complete = {True: "yes", False: "no", None: ""}[row["complete"]]
    start = [row["name"], row["voxels"], row["volume_ml"], complete, " ".join(row["cut_faces"])]
    return [
        *start,
        *hu,
        *(n for place in places for n in place),
        row["components"],
        row["largest_share"],
        row["surface_mm2"],
    ]


def _lesion_table(lesions: Sequence[dict[str, Any]]) -> str:
    columns = [name for name in Lesion.__dataclass_fields__ if name != "centroid_mm"]
    rows = [[*(lesion[name] for name in columns), *lesion["centroid_mm"]] for lesion in lesions]
    return csv_text([*columns, *(f"centroid_mm_{axis}" for axis in "xyz")], rows)
