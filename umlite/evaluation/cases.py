"""Cases in files and folders: which masks belong to which scan, in the layouts that tools and data sets use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from umlite.errors import InputError, RequestError
from umlite.evaluation.naming import case_key, class_name, is_known
from umlite.products.place import stem
from umlite.results.label_table import read_label_names
from umlite.volume.geometry import Grid
from umlite.volume.reading import Scan, read_scan, scan_name

if TYPE_CHECKING:
    from umlite.results.segmentation import Segmentation

_SCANS = ("ct", "image", "imaging", "scan", "volume")
"""Names of files that are no masks."""
_PROBABILITY = "_probability"
STORED = ".umlite.nii.gz"
"""Ending of a result that umlite keeps in one file, overlaps and all."""
_MASK_FOLDER = "segmentations"
_GRID_TOLERANCE = 0.05
"""Share of a voxel by which corners of two equal grids may differ."""


@dataclass(frozen=True)
class Case:
    """The masks of one scan.

    Args:
        name: of the case.
        masks: one file per class, by canonical name; empty for a label map.
        label_map: one file for all classes, or None.
    """

    name: str
    masks: Mapping[str, Path]
    label_map: Path | None = None

    @property
    def path(self) -> Path:
        """A file of the case, for messages."""
        return self.label_map or next(iter(self.masks.values())).parent


class Masks:
    """Masks of one case, read when they are asked for.

    Args:
        case: whose masks.
        names: of labels, for a label map without names of its own.

    Raises:
        InputError: a label map that cannot be read, or that has no names.
    """

    def __init__(self, case: Case, names: Mapping[int, str] | None) -> None:
        self.case = case
        self._labels: npt.NDArray[np.integer] | None = None
        self._numbers: dict[str, int] = {}
        self._stored: Segmentation | None = None
        if case.label_map is not None and case.label_map.name.lower().endswith(STORED):
            from umlite.products.stored.reading import read_stored

            self._stored = read_stored(case.label_map).result
        elif case.label_map is not None:
            own = {n: class_name(word) for n, word in read_label_names(case.label_map).items() if n}
            found = own or names
            if not found:
                raise InputError(
                    f"{case.label_map} has no names of labels: expected them in its header. Name a JSON file with the "
                    'names, or "published" for the numbers of the published model.',
                    about="names",
                )
            for number, name in found.items():
                if self._numbers.setdefault(name, number) != number:
                    raise InputError(
                        f"Labels {self._numbers[name]} and {number} of {case.label_map} are both {name}: expected one "
                        "label per class. Rename one of them.",
                        about="names",
                    )

    @property
    def names(self) -> tuple[str, ...]:
        """Classes that the case has a mask of, empty ones too."""
        if self._stored is not None:
            return tuple(c.name for c in self._stored.classes)
        return tuple(self._numbers) or tuple(self.case.masks)

    def number(self, name: str) -> int:
        """The label of a class in a label map."""
        return self._numbers[name]

    def read(self, name: str) -> tuple[npt.NDArray[np.bool_], Grid]:
        """One mask, bool [X, Y, Z], and where it lies.

        Raises:
            InputError: the file cannot be read or holds fractions.
        """
        if self._stored is not None:
            return self._stored.masks.mask(name), _grid(self._stored.scan)
        if self.case.label_map is None:
            scan = _read(self.case.masks[name])
            return np.concatenate([slab != 0 for slab in scan.slabs()], axis=2), _grid(scan)
        if self._labels is None:
            scan = _read(self.case.label_map)
            self._labels, self._place = _whole_numbers(scan), _grid(scan)
        return self._labels == self._numbers[name], self._place


def find_cases(path: Path) -> tuple[list[Case], bool]:
    """Cases in a file or folder.

    Layouts: a label map; a result that umlite keeps, NAME.umlite.nii.gz; a folder with one file per class; a folder
    with such files in `segmentations`; a folder of any of these. Files of a folder that are a scan (`ct`) or
    probabilities count for nothing.

    Returns:
        The cases, sorted by name, and whether the path is a single case.

    Raises:
        RequestError: no case there.
    """
    if path.is_file():
        name = scan_name(path)
        return [Case(name, {class_name(name): path}) if is_known(name) else Case(stem(path), {}, path)], True
    if not path.is_dir():
        raise RequestError(f"{path} does not exist: expected masks, a file or a folder. Check the path.")
    single = _case_of(path)
    if single is not None and (single.label_map is None):
        return [single], True
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    cases = [case for entry in entries if entry.is_dir() and (case := _case_of(entry)) is not None]
    cases += [Case(stem(file), {}, file) for file in _mask_files(path)]
    if not cases:
        raise RequestError(
            f"{path} holds no masks: expected NIfTI files with a class's name, label maps, or folders of these."
        )
    return sorted(cases, key=lambda case: case.name), False


def match_cases(predicted: Path, truth: Path) -> tuple[list[tuple[Case, Case]], list[str]]:
    """Pairs of predicted and true cases, by name, and the names of what has no partner.

    Two single cases are a pair whatever their names. Endings such as _ct, _0000 and _dseg do not count.

    Raises:
        RequestError: no pair, or a name that fits several cases.
    """
    (ours, one), (theirs, other) = find_cases(predicted), find_cases(truth)
    if one and other:
        return [(ours[0], theirs[0])], []
    left, right = _by_key(ours, predicted), _by_key(theirs, truth)
    pairs = [(left[key], right[key]) for key in left if key in right]
    if not pairs:
        raise RequestError(
            f"No case of {predicted} has the name of one of {truth}: expected the same names, found "
            f"{ours[0].name!r} and {theirs[0].name!r} among others. Rename them."
        )
    lonely = [f"{left[key].name} is in {predicted} only" for key in left if key not in right]
    lonely += [f"{right[key].name} is in {truth} only" for key in right if key not in left]
    return pairs, lonely


def check_same_grid(one: Grid, other: Grid, names: tuple[Path, Path]) -> None:
    """Raise InputError where voxels of two masks do not lie at the same places."""
    apart = np.inf
    if one.shape == other.shape:
        apart = float(np.abs(((one.affine - other.affine) @ one.corners())[:3]).max())
    if apart > _GRID_TOLERANCE * float(np.linalg.norm(one.affine[:3, :3], axis=0).min()):
        found = (
            f"{apart:.3g} mm apart" if one.shape == other.shape else f"{_times(one.shape)} and {_times(other.shape)}"
        )
        raise InputError(
            f"{names[0]} and {names[1]} lie on different grids ({found}): expected the same voxels. Resample one of "
            "them to the other's grid."
        )


def _case_of(folder: Path) -> Case | None:
    inner = folder / _MASK_FOLDER
    if inner.is_dir():
        masks = _by_class(_mask_files(inner))
        return Case(folder.name, masks) if masks else None
    files = _mask_files(folder)
    if any(is_known(scan_name(file)) for file in files):
        return Case(folder.name, _by_class(files))
    return Case(folder.name, {}, files[0]) if len(files) == 1 else None


def _by_class(files: list[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in files:
        name = class_name(scan_name(file))
        if name in found:
            raise RequestError(f"{found[name]} and {file} are both {name}: expected one file per class. Move one away.")
        found[name] = file
    return found


def _mask_files(folder: Path) -> list[Path]:
    files = [f for f in sorted(folder.iterdir()) if f.is_file() and f.name.lower().endswith((".nii", ".nii.gz"))]
    names = [(scan_name(file).lower(), file) for file in files if not file.name.startswith(".")]
    return [file for name, file in names if name not in _SCANS and not name.endswith(_PROBABILITY)]


def _by_key(cases: list[Case], path: Path) -> dict[str, Case]:
    found: dict[str, Case] = {}
    for case in cases:
        key = case_key(case.name)
        if key in found:
            raise RequestError(f"{found[key].path} and {case.path} are one case by name. Keep one of them in {path}.")
        found[key] = case
    return found


def _read(path: Path) -> Scan:
    scan = read_scan(path, force_geometry=True)
    if scan.voxels.dtype != np.int16 and any((slab % 1 != 0).any() for slab in scan.slabs()):
        raise InputError(f"{path} holds fractions: expected a mask of 0 and 1, or whole labels. Round it first.")
    return scan


def _whole_numbers(scan: Scan) -> npt.NDArray[np.integer]:
    low, high = scan.voxels.ends()
    dtype = np.result_type(np.min_scalar_type(int(low)), np.min_scalar_type(int(high)))
    return np.concatenate([slab.astype(dtype) for slab in scan.slabs()], axis=2)


def _grid(scan: Scan) -> Grid:
    return Grid(scan.shape, scan.affine)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
