"""Comparisons as files: a row per organ, a row per lesion, both as JSON, and a page for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from umlite import __version__
from umlite.comparison.comparison import Comparison
from umlite.comparison.page import comparison_page
from umlite.outputs.file_set import together
from umlite.outputs.texts import csv_text, json_text

FILES = ("organs.csv", "lesion_changes.csv", "comparison.json", "comparison.html")
_PLACES = [f"centroid_{side}_mm_{axis}" for side in "ab" for axis in "xyz"]
_SIZES = [
    f"{what}_{column}"
    for what, unit in (("volume", "ml"), ("diameter", "mm"))
    for column in (f"a_{unit}", f"b_{unit}", f"change_{unit}", "change_percent")
]


def write_comparison(folder: Path, found: Comparison, *, overwrite: bool = True) -> list[Path]:
    """Write FILES into a folder, which is made. In tables, a number that does not exist is an empty cell.

    Raises:
        OutputError: the files cannot be written.
    """
    texts = (_organ_table(found), _lesion_table(found), _json(found), comparison_page(found))
    with together(folder, overwrite=overwrite) as files:
        for name, content in zip(FILES, texts, strict=True):
            files.write_text(folder / name, content)
    return [folder / name for name in FILES]


def _json(found: Comparison) -> str:
    return json_text({"umlite": __version__, **found.to_dict()})


def _organ_table(found: Comparison) -> str:
    columns = [f"{name}_{side}" for name in ("volume_ml", "complete", "mean_hu") for side in "ab"]
    rows = []
    for row in found.to_dict()["organs"]:
        cells = [_cell(row[column[-1]][column[:-2]]) for column in columns]
        rows.append([row["name"], *cells, _cell(row["volume_change_ml"]), _cell(row["volume_change_percent"])])
    return csv_text(["name", *columns, "volume_change_ml", "volume_change_percent"], rows)


def _lesion_table(found: Comparison) -> str:
    rows = []
    for row in found.to_dict()["lesions"]:
        ids = [" ".join(spot["id"] for spot in row[side]) for side in "ab"]
        places = [n for side in "ab" for n in (row[side][0]["centroid_mm"] if len(row[side]) == 1 else [None] * 3)]
        numbers = [row[name] for name in (*_SIZES, "complete", "distance_mm")]
        rows.append([row["verdict"], row["class_name"], *ids, *map(_cell, [*numbers, *places])])
    return csv_text(["verdict", "class_name", "ids_a", "ids_b", *_SIZES, "complete", "distance_mm", *_PLACES], rows)


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else value
