"""Labelled scans of one class, in the layouts that data sets come in."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from umlite.class_table import normalise
from umlite.errors import InputError, RequestError
from umlite.evaluation.cases import Case, Masks, find_cases
from umlite.files import read_json
from umlite.volume.geometry import Grid
from umlite.volume.reading import Scan, read_scan, scan_name

_SCANS = ("ct", "image", "imaging", "scan", "volume")
_ENDINGS = (".nii.gz", ".nii")
_CORNERS_MM = 1.0
"""Distance that corners of a scan and its mask may have."""


@dataclass(frozen=True)
class Labelled:
    """A scan and the mask of the class.

    name: of the case. scan: its file. mask: its file. value: of the class in a label map; None for all that is not 0.
    """

    name: str
    scan: Path
    mask: Path
    value: int | None = None

    def read(self) -> tuple[Scan, npt.NDArray[np.bool_]]:
        """The scan, and the mask as bool of its shape. Raises InputError where they do not lie on one grid."""
        scan, mask = read_scan(self.scan), read_scan(self.mask, force_geometry=True)
        if scan.shape != mask.shape:
            raise InputError(f"{self.mask} has {mask.shape} voxels, and its scan {self.scan} has {scan.shape}.")
        if _distance(Grid(scan.shape, scan.affine), Grid(mask.shape, mask.affine)) > _CORNERS_MM:
            raise InputError(f"{self.mask} lies in another place than its scan {self.scan}.")
        labels = mask.hu
        return scan, labels != 0 if self.value is None else labels == self.value


def find_labelled(data: Path, name: str) -> tuple[list[Labelled], int]:
    """Scans that are labelled with a class.

    Layouts: a CSV file of scan, mask and label; an nnU-Net data set (dataset.json, imagesTr, labelsTr); a folder of
    cases, each with its scan (ct.nii.gz) and masks by name, in `segmentations` or not, or a label map with names.

    Args:
        data: the file or folder.
        name: of the class in the data, in any spelling.

    Returns:
        The labelled scans by name, and the number of scans that are not labelled with it: what is not labelled is
        unknown.

    Raises:
        RequestError: none is labelled with it; the message names what is.
        InputError: a table or dataset.json that cannot be read.
    """
    if data.is_file():
        return sorted(_of_table(data), key=lambda one: one.name), 0
    if (data / "dataset.json").is_file():
        return _of_nnunet(data, name)
    words: set[str] = set()
    wanted, found, others = normalise(name), [], 0
    for case in find_cases(data)[0]:
        scan = _scan_of(case)
        labelled = None if scan is None else _of_case(case, scan, wanted, words)
        others += labelled is None
        found += [] if labelled is None else [labelled]
    if not found:
        raise RequestError(
            f"No scan in {data} is labelled with {name!r}. Labelled are: {', '.join(sorted(words)[:20]) or 'none'}.",
            about="name_in_data",
        )
    return found, others


def _of_case(case: Case, scan: Path, wanted: str, words: set[str]) -> Labelled | None:
    if case.label_map is None:
        words |= set(case.masks)
        mask = next((path for word, path in case.masks.items() if normalise(word) == wanted), None)
        return None if mask is None else Labelled(case.name, scan, mask)
    if normalise(scan_name(case.label_map)) == wanted:  # a lone mask in its folder
        return Labelled(case.name, scan, case.label_map)
    masks = Masks(case, None)
    words |= set(masks.names)
    value = next((masks.number(word) for word in masks.names if normalise(word) == wanted), None)
    return None if value is None else Labelled(case.name, scan, case.label_map, value)


def _scan_of(case: Case) -> Path | None:
    folders = [case.path if case.path.is_dir() else case.path.parent]
    folders += [folders[0].parent] if folders[0].name == "segmentations" else []
    for folder in folders:
        for word in _SCANS:
            for ending in _ENDINGS:
                if (path := folder / f"{word}{ending}").is_file():
                    return path
    return None


def _of_nnunet(data: Path, name: str) -> tuple[list[Labelled], int]:
    path = data / "dataset.json"
    try:
        labels: dict[str, Any] = read_json(path)["labels"]
        pairs = [(k, v) if not str(k).isdigit() else (v, int(k)) for k, v in labels.items()]
        values = {normalise(str(word)): value for word, value in pairs if isinstance(value, int)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"Cannot read the labels of {path} ({error!s:.100}): expected nnU-Net's dataset.json."
        ) from error
    if (value := values.get(normalise(name))) is None:
        raise RequestError(f"{path} names no {name!r}: it names {', '.join(values)}.", about="name_in_data")
    found = []
    for mask in sorted((data / "labelsTr").glob("*.nii*")):
        scans = [data / "imagesTr" / f"{scan_name(mask)}{channel}.nii.gz" for channel in ("_0000", "")]
        if scan := next((scan for scan in scans if scan.is_file()), None):
            found.append(Labelled(scan_name(mask), scan, mask, value))
    if not found:
        raise RequestError(f"{data} has no labelled scan: expected imagesTr and labelsTr.", about="data")
    return found, 0


def _of_table(path: Path) -> Iterator[Labelled]:
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"Cannot read {path} ({error!s:.100}): expected a CSV table of scan, mask and label."
        ) from error
    if not rows or not {"scan", "mask"} <= set(rows[0]):
        raise InputError(f"{path} is no table of labelled scans: expected the columns scan, mask and perhaps label.")
    for number, row in enumerate(rows, start=2):
        scan, mask, label = (str(row.get(column) or "").strip() for column in ("scan", "mask", "label"))
        if not scan or not mask or not (label == "" or label.isdigit()):
            raise InputError(f"Line {number} of {path}: expected scan, mask and a whole number or nothing as label.")
        place = path.parent / scan
        yield Labelled(scan_name(place), place, path.parent / mask, int(label) if label else None)


def _distance(a: Grid, b: Grid) -> float:
    """The largest distance of corresponding corners of two grids of one shape, mm."""
    last = np.array(a.shape) - 1
    corners = np.array([[x, y, z, 1] for x in (0, last[0]) for y in (0, last[1]) for z in (0, last[2])], float)
    return float(np.abs((corners @ (a.affine - b.affine).T)[:, :3]).max())
