"""One file that keeps a result: a bit for each class and voxel, and in the header all that is known of the masks.

The file is a NIfTI of unsigned integers on the scan's grid. Bit k of a voxel belongs to the k-th class. More than 64
classes take a volume of integers for each 64, along a fourth axis. The header extension (code 6, a comment) is JSON:
see `describe`. The file names no folder of this machine.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from umlite import __version__
from umlite.classes import AnatomyClass, word_bytes
from umlite.concepts import concept_of
from umlite.outputs.file_set import Files
from umlite.products.place import Place
from umlite.products.product import Finished, Product
from umlite.products.wanted import Wanted
from umlite.weights.model_card import KEY

KIND, SCHEMA = "umlite result", 1
ENDING = ".umlite.nii.gz"
_COMMENT = 6
"""NIfTI's code for plain text in a header extension."""


class StoredResult(Product):
    """NAME.umlite.nii.gz, from which `umlite.products.stored.reading` makes a Segmentation again."""

    exact = False  # facts of the run are inside

    def paths(self, place: Place, classes: Sequence[AnatomyClass]) -> list[Path]:  # noqa: ARG002  one file for all
        return [place.main]

    def write(self, files: Files, place: Place, finished: Finished) -> None:
        from nibabel.nifti1 import Nifti1Extension

        from umlite.results.writing import nifti_file, result_header

        result = finished.result
        dtype, volumes = layout(len(result.masks.names))
        shape = (*result.scan.shape, volumes) if volumes > 1 else result.scan.shape
        header = result_header(result.scan.forms, shape, dtype)
        text = json.dumps(describe(finished), allow_nan=False)
        header.extensions.append(Nifti1Extension(_COMMENT, text.encode("ascii")))
        file = nifti_file(files, place.main, header)
        for group in result.masks.groups():
            for slab in group.slabs():
                bits = slab.words[0].astype(dtype, copy=False)
                file.write(bits.tobytes(order="F") if bits.any() else bits.nbytes)
        file.close()


def layout(classes: int) -> tuple[np.dtype, int]:
    """The type of the file's integers, and how many volumes of them hold all classes."""
    sizes = word_bytes(classes)
    return np.dtype(f"<u{max(sizes)}"), len(sizes)


def describe(finished: Finished) -> dict[str, Any]:
    """What the header holds, ready for JSON.

    Returns:
        kind, schema, umlite: of the file. classes: name, label, kind, color and SNOMED CT code for each bit.
        requested: names in the order of the request. scan: its name and what was unusual about it. result: the rest of
        the Segmentation. card: of the weights. run: the facts of the run manifest.
    """
    result = finished.result
    table = {c.name: c for c in result.classes}
    return {
        "kind": KIND,
        "schema": SCHEMA,
        "umlite": __version__,
        "classes": [_row(table[name]) for name in result.masks.names],
        "requested": [c.name for c in result.classes],
        "scan": {
            "name": result.scan.name,
            "stored_bytes": result.scan.stored_bytes,
            "findings": [asdict(finding) for finding in result.scan.findings],
        },
        "result": {
            "windows": asdict(result.windows),
            "undecided_voxels": result.undecided_voxels,
            "warnings": [_without_folder(text, result.scan.path) for text in result.warnings],
            "notes": list(result.notes),
            "kept_shares": dict(result.kept_shares),
        },
        "card": json.loads(result.card.to_metadata()[KEY]),
        "run": _portable(finished.run),
    }


def _row(c: AnatomyClass) -> dict[str, Any]:
    code = concept_of(c).type
    return {
        "name": c.name,
        "label": c.index,
        "kind": c.kind,
        "color": list(c.color),
        "code": [code.scheme, code.value, code.meaning],
    }


def _portable(run: dict[str, Any]) -> dict[str, Any]:
    """Facts of a run without folders of this machine and the UID of a patient's series."""
    if "input" not in run:  # exported from a result that tells nothing of its run
        return {}
    scan, weights = dict(run["input"]), dict(run["weights"])
    scan["path"], weights["file"] = Path(scan["path"]).name, Path(weights["file"]).name
    scan.pop("series_uid", None)
    return {**run, "input": scan, "weights": weights, "wanted": Wanted(format="umlite").to_dict()}


def _without_folder(text: str, path: Path | None) -> str:
    return text if path is None else text.replace(str(path), path.name)
