"""Layouts of folders that other tools expect: which place a scan's result gets in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from umlite.errors import RequestError
from umlite.products.place import Place
from umlite.volume.reading import scan_name

FLAT, ATLAS, BIDS = "flat", "atlas", "bids"

_ENTITIES = re.compile(r"(?P<entities>sub-[A-Za-z0-9]+(_[A-Za-z]+-[A-Za-z0-9]+)*)(_[A-Za-z0-9]+)?")
_DATATYPES = ("anat", "ct", "pet")
"""Folders of a BIDS dataset that a CT lies in; the first where it lies in none of them."""
_SAME_NAMES = ("ct",)
"""Names of scans that are the same in every case."""

PlaceOf = Callable[[Path, str, Path | None, str], Place]
"""From a scan, a name that no other scan has, the output and the ending of a format's file to a place."""


def _atlas(_scan: Path, name: str, output: Path | None, ending: str) -> Place:
    """AbdomenAtlas: CASE/segmentations/CLASS.nii.gz, or CASE/combined_labels.nii.gz. Source: its data sets."""
    case = (output or Path()) / name
    if not ending:
        return Place(case / "segmentations", True, name)
    return Place(case / f"combined_labels{ending}", False, name)


def _bids(scan: Path, _name: str, output: Path | None, ending: str) -> Place:
    """BIDS derivatives: sub-X/ses-Y/anat/sub-X_ses-Y_desc-umlite_dseg.nii.gz, entities as in the scan's name.

    Source: Brain Imaging Data Structure 1.10, "Imaging data types": `desc` comes last.
    """
    name = scan_name(case_of(scan))
    found = _ENTITIES.fullmatch(name)
    entities = found["entities"] if found else f"sub-{re.sub('[^A-Za-z0-9]', '', name) or 'scan'}"
    labels = dict(part.split("-", 1) for part in entities.split("_"))
    dataset = output or Path("derivatives") / "umlite"
    parent = scan.absolute().parent.name
    folder = dataset / f"sub-{labels['sub']}"
    if "ses" in labels:
        folder /= f"ses-{labels['ses']}"
    start = entities if "desc" in labels else f"{entities}_desc-umlite"
    file = folder / (parent if parent in _DATATYPES else _DATATYPES[0]) / f"{start}_dseg{ending}"
    return Place(file, False, name, dataset=dataset)


LAYOUTS: dict[str, PlaceOf | None] = {FLAT: None, ATLAS: _atlas, BIDS: _bids}


def lay_out(layout: str, scans: Sequence[Path], names: Sequence[str], output: Path | None, ending: str) -> list[Place]:
    """Places of several scans in a layout other than the flat one.

    Args:
        layout: a key of LAYOUTS.
        scans: the files.
        names: of their cases (`case_of`), all different.
        output: the folder; None for the layout's own.
        ending: of the format's file; empty for a folder.

    Raises:
        RequestError: two scans would get one place.
    """
    place_of = LAYOUTS[layout]
    assert place_of is not None
    places = [place_of(scan, name, output, ending) for scan, name in zip(scans, names, strict=True)]
    taken: dict[str, Path] = {}
    for scan, place in zip(scans, places, strict=True):
        other = taken.setdefault(str(place.main).lower(), scan)
        if other is not scan:
            raise RequestError(
                f"{other} and {scan} would both get {place.main}. Rename one of them, or segment them separately.",
                about=("layout", "output"),
            )
    return places


def case_of(scan: Path) -> Path:
    """What a scan is called after: its folder where all scans have the same name, as in CASE/ct.nii.gz."""
    folder = scan.absolute().parent
    return folder if scan_name(scan).lower() in _SAME_NAMES and folder.name else scan
