"""A result from the file that keeps it. The file is data from anywhere, so everything in it is checked."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from umlite.class_table import ClassTable
from umlite.classes import AnatomyClass
from umlite.errors import InputError, RequestError, WeightsError
from umlite.files import expanded
from umlite.products.recorded import Recorded, recorded
from umlite.products.stored.masks import StoredMasks
from umlite.products.stored.product import ENDING, KIND, SCHEMA, layout
from umlite.records import from_fields
from umlite.request import Classes
from umlite.results.segmentation import Segmentation
from umlite.sweep.runner import WindowCounts
from umlite.volume.geometry import Size
from umlite.volume.header import Header, describe
from umlite.volume.nifti import open_nifti, read_extensions
from umlite.volume.plausibility import ScanFinding
from umlite.volume.reading import Scan
from umlite.volume.values import Ends, Values
from umlite.volume.voxels import Stored
from umlite.weights.model_card import KEY, ModelCard

_MOST_BYTES = 1 << 22
"""Most bytes of the header with its extension: far more than a thousand classes need."""
_SAME_PLACE_MM = 1e-3


@dataclass(frozen=True, eq=False)
class StoredFile:
    """A result that was read from a file.

    result: the masks, with a scan that knows its grid only. manifest: of the run; None where it was not a run of jobs.
    """

    path: Path
    result: Segmentation
    manifest: Recorded | None

    def select(self, classes: Classes = None) -> StoredFile:
        """The same with some of its classes. Raises RequestError for one that it does not hold."""
        if classes is None:
            return self
        chosen = ClassTable(c.name for c in self.result.classes).resolve(classes)
        known = {c.name: c for c in self.result.classes}
        masks = self.result.masks
        assert isinstance(masks, StoredMasks)
        names = [c.name for c in chosen]
        result = replace(self.result, classes=tuple(known[name] for name in names), masks=masks.select(names))
        return replace(self, result=result)

    def with_scan(self, scan: Scan) -> StoredFile:
        """The same with the scan's HU. Raises InputError where the scan lies elsewhere."""
        mine = self.result.scan
        if scan.shape != mine.shape or not np.allclose(scan.affine, mine.affine, rtol=0, atol=_SAME_PLACE_MM):
            raise InputError(
                f"{scan.path or scan.name} is not on the grid of {self.path}: expected the scan that was segmented.",
                about="scan",
            )
        return replace(self, result=replace(self.result, scan=scan))


@dataclass(frozen=True, eq=False)
class NoVoxels:
    """The voxels of a scan of which only the grid is known: reading them raises InputError."""

    shape: Size
    label: str
    dtype = np.dtype(np.int16)
    is_held = False

    def ends(self) -> Ends:
        raise self._error()

    def values(self) -> Values:
        raise self._error()

    def whole(self) -> np.ndarray:
        raise self._error()

    def slabs(self, planes: int) -> Iterator[np.ndarray]:  # noqa: ARG002
        raise self._error()

    def _error(self) -> InputError:
        return InputError(f"{self.label} holds masks and no HU: give the scan that was segmented too.", about="scan")


def read_stored(path: Path) -> StoredFile:
    """Read a .umlite.nii.gz file once, to its end. Memory does not grow with the scan's length.

    Raises:
        InputError: another file, a damaged one, or one of a later version.
    """
    path = expanded(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder: expected a result in one file, NAME.umlite.nii.gz.")
    file = open_nifti(path)
    header, volumes = _described(file.header, str(path))
    about = _about(read_extensions(file, _MOST_BYTES), path)
    try:
        card = ModelCard.from_metadata({KEY: json.dumps(about["card"])})
        names = _texts(about["classes"], "name")
        classes = _classes(card, about, names)
        result, scan = about["result"], about["scan"]
        told = from_fields(_Told, {**result["windows"], **{k: result[k] for k in _TOLD}}, "result")
        findings = tuple(from_fields(ScanFinding, one, "finding") for one in _list(scan["findings"]))
        name, stored_bytes, shares = scan["name"], scan["stored_bytes"], _shares(result["kept_shares"], names)
        if not isinstance(name, str) or type(stored_bytes) is not int or not 0 < stored_bytes <= 16:
            raise TypeError("its scan is not described")
        manifest = recorded({**about["run"], "outputs": []}, str(path)) if about["run"] else None
    except (KeyError, TypeError, ValueError, AttributeError, RequestError, WeightsError, InputError) as error:
        raise InputError(f"{path} is a damaged result ({error!s:.200}). Segment the scan again.") from error
    if (header.dtype, volumes) != layout(len(names)) or (header.slope, header.inter) != (1.0, 0.0):
        raise InputError(f"{path} is a damaged result: expected a bit for each of {len(names)} classes.")
    size = math.prod(header.shape) * header.dtype.itemsize
    places = (file.offset + size * n for n in range(volumes))
    stored = [Stored(file.voxels_path, place, header.shape, header.dtype, 1.0, 0.0) for place in places]
    masks = StoredMasks(stored, names, names)
    masks.check()
    name = name if _is_name(name) else "scan"
    grid = Scan(NoVoxels(header.shape, str(path)), header.affine, header.forms, stored_bytes, name, None, (), findings)
    windows = WindowCounts(told.run, told.reused, told.total)
    found = Segmentation(
        grid, classes, masks, windows, {}, told.warnings, told.notes, card, told.undecided_voxels, kept_shares=shares
    )
    return StoredFile(path, found, manifest)


def _described(header: nib.Nifti1Header, label: str) -> tuple[Header, int]:
    """The header of one volume, and how many volumes there are along a fourth axis. Raises InputError."""
    one, volumes = header.copy(), 1
    if int(one["dim"][0]) == 4:
        one["dim"][0], volumes = 3, int(one["dim"][4])
    return describe(one, label), volumes


@dataclass(frozen=True)
class _Told:
    run: int
    reused: int
    total: int
    undecided_voxels: int
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


_TOLD = ("undecided_voxels", "warnings", "notes")


def _about(extensions: list[bytes], path: Path) -> dict[str, Any]:
    """The JSON of the extension that is ours. Raises InputError where there is none."""
    for content in extensions:
        try:
            found = json.loads(content.rstrip(b"\0"), parse_constant=_refuse)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and found.get("kind") == KIND:
            if found.get("schema") != SCHEMA:
                raise InputError(
                    f"{path} is a result of version {found.get('schema')!r:.20}, expected {SCHEMA}: another umlite "
                    "wrote it."
                )
            return found
    raise InputError(f"{path} keeps no result: expected a file that umlite wrote, NAME{ENDING}.")


def _classes(card: ModelCard, about: dict[str, Any], names: list[str]) -> tuple[AnatomyClass, ...]:
    """The requested classes of the card's table. Raises ValueError where the file's differ."""
    table = {c.name: c for c in ClassTable(card.classes)}
    requested = _list(about["requested"])
    if not names or len(set(names)) != len(names) or sorted(requested) != sorted(names):
        raise ValueError("its classes are none or not all different")
    if unknown := [name for name in names if name not in table]:
        raise ValueError(f"its weights do not know the class {unknown[0]!r:.40}")
    return tuple(table[name] for name in requested)


def _texts(rows: Any, field: str) -> list[str]:
    texts = [row[field] for row in _list(rows)]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"a {field} is no text")
    return texts


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("a list is missing")
    return value


def _shares(value: Any, names: list[str]) -> Mapping[str, float]:
    if not isinstance(value, dict) or not all(name in names for name in value):
        raise TypeError("its kept shares are not of its classes")
    if not all(type(share) in (int, float) and 0 <= share < 1e12 for share in value.values()):
        raise TypeError("a kept share is no number")
    return {name: float(share) for name, share in value.items()}


def _is_name(name: str) -> bool:
    """Whether a text can name a file."""
    return len(name) <= 200 and name.isprintable() and Path(name).name == name and name.strip(". ") != ""


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no number")
