"""The series that files hold: described, numbered, and judged whether they are CT scans of a body."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from umlite.dicom.frames import Frame, frames_of
from umlite.dicom.header import Header
from umlite.dicom.library import pydicom
from umlite.dicom.spacing import Row
from umlite.dicom.stacks import Stack, stacks_of
from umlite.errors import InputError

LEAST_SLICES = 10
_CT_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT Image Storage",
}
_AXIAL = 0.7
"""Least cosine of the angle between the normal of axial planes and the body's axis."""
_NO_SCANS = ("LOCALIZER", "SCOUT", "MIP", "MINIP", "PROJECTION IMAGE", "DOSEINFO", "SCREEN SAVE", "3D", "PERFUSION")
_SUFFIXES = (".dcm", ".ima", ".zip")
_HU = ("", "HU", "US")
"""Kinds of rescaled values that a CT may have; US is "unspecified", which many programs write."""


@dataclass(frozen=True)
class Description:
    """What a list of series says of one. Names and numbers of patients stand apart, since they are shown on request.

    study_uid, uid: the series' own, or one made from its instances where it has none (is_made).
    """

    uid: str
    is_made: bool
    study_uid: str
    modality: str
    kind: str
    number: str
    description: str
    date: str
    image_type: tuple[str, ...]
    patient_name: str
    patient_id: str


@dataclass(frozen=True, eq=False)
class Series:
    """A stack of planes, or something else that files hold, as `umlite series` lists it.

    path: where it was found. number: in the list, from 1. stack: None for what has no planes. reason: why it is not
    taken by default; empty where it is. is_scan: whether it can be taken at all. fill_gaps: interpolate missing planes.
    """

    path: Path
    number: int
    about: Description
    files: int
    stack: Stack | None
    reason: str
    is_scan: bool
    left_out: tuple[str, ...] = ()
    fill_gaps: bool = False

    def __str__(self) -> str:
        return self.label

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Its planes, sorted; empty where it has none."""
        return () if self.stack is None else self.stack.frames

    @property
    def name(self) -> str:
        """For files: that of its folder, archive or file, without its ending. No word of the headers is in it."""
        path = self.path.resolve()
        return path.stem if path.suffix.lower() in _SUFFIXES else path.name

    @property
    def label(self) -> str:
        """What messages call it: where it is from and which it is."""
        part = f", {self.stack.part}" if self.stack and self.stack.part else ""
        return f"{self.path}, series {self.number}{part}"

    @property
    def orientation(self) -> str:
        """ "axial", "coronal" or "sagittal", with the tilt; empty where there are no planes."""
        if not self.frames:
            return ""
        name = ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(self.frames[0].normal)))]
        if len(self.frames) < 2 or not (row := Row.of(self.frames)).is_tilted:
            return name
        return f"{name}, tilted {row.tilt_degrees:.3g} degrees"

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Between columns, rows and planes (the usual distance); None where there are no planes."""
        if not self.frames:
            return None
        x, y = self.frames[0].spacing_mm
        if len(self.frames) > 1:
            return x, y, Row.of(self.frames).usual_mm
        return x, y, self.frames[0].thickness_mm or 0.0


def series_of(path: Path, headers: Iterable[Header], first: int = 1) -> list[Series]:
    """Group headers into series and these into stacks, numbered from `first` on, by study, number and UID."""
    groups: dict[tuple[str, ...], list[Header]] = {}
    for header in headers:
        groups.setdefault(_key(header), []).append(header)
    found: list[Series] = []
    for key in sorted(groups, key=lambda key: _order(groups[key][0], key)):
        found += _entries(path, groups[key])
    return [_numbered(entry, number) for number, entry in enumerate(found, start=first)]


def _entries(path: Path, headers: list[Header]) -> list[Series]:
    about = _describe(headers)
    if reason := _no_ct(headers[0], about):
        return [Series(path, 0, about, len(headers), None, reason, False)]
    frames: list[Frame] = []
    refused: list[str] = []
    for header in headers:
        try:
            frames += frames_of(header)
        except InputError as error:
            refused.append(str(error))
    if not frames:
        return [Series(path, 0, about, len(headers), None, refused[0], False)]
    return [
        Series(path, 0, about, len({id(f.header) for f in stack.frames}), stack, *_judge(stack, about), tuple(refused))
        for stack in stacks_of(frames)
    ]


def _numbered(entry: Series, number: int) -> Series:
    return dataclasses.replace(entry, number=number)


def _key(header: Header) -> tuple[str, ...]:
    uid = header.text("SeriesInstanceUID")
    if uid:
        return (uid, header.text("Modality"), header.class_uid)
    parts = ("StudyInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "SeriesDate")
    return ("", *(header.text(part) for part in parts), header.class_uid)


def _order(header: Header, key: tuple[str, ...]) -> tuple[str, float, tuple[str, ...]]:
    return header.text("StudyDate"), header.number("SeriesNumber") or 0.0, key


def _describe(headers: list[Header]) -> Description:
    header = headers[0]
    uid = header.text("SeriesInstanceUID")
    kind = str(pydicom().uid.UID(header.class_uid).name) if header.class_uid else ""
    number = header.number("SeriesNumber")
    dates = (header.text(keyword) for keyword in ("AcquisitionDate", "SeriesDate", "StudyDate"))
    return Description(
        uid or _made_uid(headers),
        not uid,
        header.text("StudyInstanceUID"),
        header.text("Modality"),
        kind,
        "" if number is None else f"{number:.0f}",
        header.text("SeriesDescription"),
        next((date for date in dates if date), ""),
        tuple(part.strip().upper() for part in header.text("ImageType").split("\\")),
        header.text("PatientName"),
        header.text("PatientID"),
    )


def _made_uid(headers: Sequence[Header]) -> str:
    """A UID for a series without one: the same for the same instances."""
    names = sorted(header.instance_uid or header.source.name for header in headers)
    return f"2.25.{int.from_bytes(hashlib.sha256(' '.join(names).encode()).digest()[:16], 'big')}"


def _no_ct(header: Header, about: Description) -> str:
    """Why an object is no image of a CT scan; empty where it may be one."""
    if about.modality not in ("CT", ""):
        stored = f", stored as {about.kind}" if header.class_uid in _CT_CLASSES else ""
        return f"its modality is {about.modality}{stored}, not CT"
    if header.class_uid and header.class_uid not in _CT_CLASSES:
        return f"it is no CT image but {about.kind}"
    if header.start is None:
        return "it has no image"
    if not header.class_uid and not about.modality:
        return "it does not say what it is"
    if header.text("RescaleType").upper() not in _HU:
        return f"its values are not HU but {header.text('RescaleType')}"
    if header.data.get("ModalityLUTSequence") is not None:
        return "its values become HU through a table, which is not supported"
    return ""


def _judge(stack: Stack, about: Description) -> tuple[str, bool]:
    """Why a stack is not taken by default, empty where it is; and whether it can be taken at all."""
    image_type = {part.strip().upper() for part in stack.frames[0].keys.get("ImageType", "").split("\\")}
    image_type |= set(about.image_type)
    if found := next((kind for kind in _NO_SCANS if kind in image_type), None):
        return f"its image type is {found}", False
    if stack.problem:
        return stack.problem, False
    if "DERIVED" in image_type and "AXIAL" not in image_type:
        return "it was derived from other images", True
    if abs(float(stack.frames[0].normal[2])) < _AXIAL:
        return "it is not axial", True
    if len(stack.frames) < LEAST_SLICES:
        return f"it has {len(stack.frames)} of at least {LEAST_SLICES} slices", True
    return "", True
