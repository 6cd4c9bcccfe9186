"""What names DICOM objects: UIDs and dates that the same result gets again, and the program that made it."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import Any

from umlite import __version__

MAKER = "umlite"
_SPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "dicom.umlite")
_NO_DATE, _NO_TIME = "19000101", "000000"
_WHEN = (("AcquisitionDate", "AcquisitionTime"), ("SeriesDate", "SeriesTime"), ("StudyDate", "StudyTime"))
_NOW = ("InstanceCreationDate", "InstanceCreationTime", "SeriesDate", "SeriesTime")


@dataclass(frozen=True)
class Maker:
    """The weights that made a result.

    name: of the weights. sha256: of their file. notice: a sentence that marks every result made with them, or empty.
    """

    name: str
    sha256: str
    notice: str = ""

    @property
    def parameters(self) -> dict[str, str]:
        """What identifies the weights, for DICOM."""
        return {"weights": self.name, "weights_sha256": self.sha256}


def made_uid(kind: str, *content: str) -> str:
    """A UID that the same content gets again: a UUID of version 5 under 2.25. Source: PS3.5, annex B.2."""
    return f"2.25.{uuid.uuid5(_SPACE, chr(10).join((kind, *content))).int}"


def digest_of(data: Any) -> str:
    """A hash of a data set, as it would be written."""
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, data)
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def seed(maker: Maker) -> tuple[str, ...]:
    """What else decides the bytes of an object, for `made_uid`."""
    import highdicom

    return maker.sha256, __version__, highdicom.__version__


def scan_date(data: Any) -> tuple[str, str]:
    """Date and time of the scan, YYYYMMDD and HHMMSS; the beginning of 1900 where it states none."""
    from pydicom.valuerep import DA, TM

    for date, time in _WHEN:
        try:
            day, hour = str(data.get(date) or ""), str(data.get(time) or "")
            if day and DA(day) and (not hour or TM(hour) is not None):
                return day, hour or _NO_TIME
        except (ValueError, OverflowError):
            continue
    return _NO_DATE, _NO_TIME


def settle(data: Any, when: tuple[str, str]) -> None:
    """Replace the moments that the library wrote, which differ with each run, by the scan's."""
    for keyword in _NOW:
        if keyword in data:
            delattr(data, keyword)
    data.ContentDate, data.ContentTime = when
    for keyword in ("DateOfSecondaryCapture", "TimeOfSecondaryCapture"):
        if keyword in data:
            delattr(data, keyword)
    for item in data.get("ContributingEquipmentSequence") or ():
        if "ContributionDateTime" in item:
            del item.ContributionDateTime
