"""What a BIDS dataset of derivatives holds beside its label maps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umlite import __version__
from umlite.classes import AnatomyClass
from umlite.errors import RequestError
from umlite.files import read_json
from umlite.outputs.file_set import Files
from umlite.outputs.texts import json_text
from umlite.products.place import Place, stem
from umlite.products.product import Finished, NamedProduct, Product

if TYPE_CHECKING:
    from umlite.dicom.series import Series

DESCRIPTION = "dataset_description.json"
_BIDS_VERSION = "1.10.0"


class LabelTable(NamedProduct):
    """NAME_dseg.tsv: index, name and colour of every label."""

    def paths(self, place: Place, classes: Sequence[AnatomyClass]) -> list[Path]:  # noqa: ARG002  one file for all
        return [] if place.is_folder else [place.main.with_name(f"{stem(place.main)}.tsv")]

    def write(self, files: Files, place: Place, finished: Finished) -> None:
        classes = finished.result.classes
        names = self.names_of(classes)
        rows = [(0, "background", (0, 0, 0)), *((c.index, names[c.name], c.color) for c in classes)]
        lines = ["index\tname\tcolor", *(f"{index}\t{name}\t#{bytes(color).hex()}" for index, name, color in rows)]
        for path in self.paths(place, classes):
            files.write_text(path, "\n".join(lines) + "\n")


class DatasetDescription(Product):
    """dataset_description.json, which all scans of a dataset share: the first one writes it, and it stays as it is.

    Scans that are written at the same time write equal files. A result outside a dataset has none.
    """

    is_shared = True

    def paths(self, place: Place, classes: Sequence[AnatomyClass]) -> list[Path]:  # noqa: ARG002
        return []

    def check(self, place: Place, series: Series | None) -> None:  # noqa: ARG002
        path = _path(place)
        if path is not None and os.path.lexists(path) and _read(path).get("DatasetType") != "derivative":
            raise RequestError(
                f"{path} describes no derivatives: expected a folder for them, such as {path.parent / 'derivatives'}. "
                "Choose another folder.",
                about="output",
            )

    def write(self, files: Files, place: Place, finished: Finished) -> None:
        path = _path(place)
        if path is None or os.path.lexists(path):
            return
        description: dict[str, Any] = {
            "Name": "Segmentations of organs and lesions",
            "BIDSVersion": _BIDS_VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "umlite", "Version": __version__}],
        }
        source = _source_dataset(finished.result.scan.path)
        if source is not None:
            description["SourceDatasets"] = [{"URL": Path(os.path.relpath(source, path.parent)).as_posix()}]
        files.write_text(path, json_text(description), replace=True)


def _path(place: Place) -> Path | None:
    return None if place.dataset is None else place.dataset / DESCRIPTION


def _source_dataset(scan: Path | None) -> Path | None:
    """The BIDS dataset that a scan lies in; None for another folder."""
    parents = [] if scan is None else scan.absolute().parents
    return next((folder for folder in parents if (folder / DESCRIPTION).is_file()), None)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
