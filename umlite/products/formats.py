"""Formats of masks, each a product, and which one an output's name asks for."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from umlite.errors import RequestError
from umlite.products.dicom.product import DicomSeg, encoding_of
from umlite.products.elsewhere import OTHER_FORMATS
from umlite.products.layout import BIDS, FLAT, LAYOUTS
from umlite.products.masks import LabelMap, Masks
from umlite.products.nrrd import SegNrrd
from umlite.products.product import Product
from umlite.products.stored.product import ENDING, StoredResult
from umlite.products.wanted import Wanted


@dataclass(frozen=True)
class Format:
    """A format of masks.

    Args:
        name: what users call it.
        endings: of its file, the usual one first; none for a folder.
        make: the product that writes it.
    """

    name: str
    endings: tuple[str, ...]
    make: Callable[[Wanted], Product]

    @property
    def is_folder(self) -> bool:
        return not self.endings

    @property
    def ending(self) -> str:
        """Ending of a file that umlite names; empty for a folder."""
        return self.endings[0] if self.endings else ""


MASKS = Format("masks", (), lambda wanted: Masks(wanted.names))
LABEL_MAP = Format("label-map", (".nii.gz", ".nii"), lambda wanted: LabelMap(wanted.names))
UMLITE = Format("umlite", (ENDING,), lambda _wanted: StoredResult())
SEG_NRRD = Format("seg-nrrd", (".seg.nrrd",), lambda wanted: SegNrrd(wanted.names))
DICOM_SEG = Format("dicom-seg", (".dcm",), lambda wanted: DicomSeg(encoding_of(wanted.seg), with_report=wanted.sr))
FORMATS = {one.name: one for one in (MASKS, LABEL_MAP, SEG_NRRD, UMLITE, DICOM_SEG)}


def format_of(output: Path | None, name: str | None, layout: str = FLAT) -> Format:
    """The format that is asked for: by name, or else by the ending of an output's name, or else by the layout.

    Raises:
        RequestError: an unknown name or layout, an output whose ending says another format or one that is not written
            here, or a format that the layout has no place for.
    """
    asked = None if name is None else _named(name)
    if layout != FLAT:
        return _of_layout(asked, output, layout)
    said = None if output is None else _of_ending(output)
    if output is not None and said is None:
        _check_other(output)
    if asked and said and said is not asked:
        raise RequestError(
            f"The output {output} would be a {said.name} file, but the format is {asked.name}: name a folder, or a "
            f"file that ends in {asked.ending}."
            if asked.ending
            else f"The output {output} would be a {said.name} file, but the format {asked.name} needs a folder.",
            about=("output", "format"),
        )
    return asked or said or MASKS


def _of_layout(asked: Format | None, output: Path | None, layout: str) -> Format:
    if layout not in LAYOUTS:
        raise RequestError(f"Unknown layout {layout!r}: expected {', '.join(LAYOUTS)}.", about="layout")
    if output is not None and _of_ending(output) is not None:
        raise RequestError(f"The layout {layout} needs a folder: {output} would be a file.", about=("output", "layout"))
    if layout != BIDS:
        return asked or MASKS
    if asked not in (None, LABEL_MAP):
        raise RequestError(f"The layout bids holds label maps, not {asked.name}.", about=("format", "layout"))
    return LABEL_MAP


def _named(name: str) -> Format:
    if name not in FORMATS:
        raise RequestError(f"Unknown format {name!r}: expected {' or '.join(FORMATS)}.", about="format")
    return FORMATS[name]


def _of_ending(output: Path) -> Format | None:
    """The format whose ending is the longest that a name has. A folder that exists is none, but for NIfTI's names."""
    name = output.name.lower()
    known = sorted(((e, f) for f in FORMATS.values() for e in f.endings), key=lambda pair: -len(pair[0]))
    found = next((f for ending, f in known if name.endswith(ending)), None)
    return None if found is not LABEL_MAP and os.path.isdir(output) else found


def _check_other(output: Path) -> None:
    """Raise RequestError for a name that asks for a format that is not written here, unless it is a folder already."""
    ending = next((ending for ending in OTHER_FORMATS if output.name.lower().endswith(ending)), None)
    if ending and not os.path.isdir(output):
        endings = [ending for one in FORMATS.values() for ending in one.endings]
        known = f"{', '.join(endings[:-1])} or {endings[-1]}"
        raise RequestError(
            f"Cannot write {output}: expected a folder, or a file that ends in {known}, found a name that ends in "
            f"{ending}.",
            about="output",
        )
