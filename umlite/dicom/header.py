"""What a DICOM file says of itself: read up to its pixels, every value checked, nothing trusted."""

from __future__ import annotations

import io
import math
import zlib
from dataclasses import dataclass
from typing import Any

from umlite.dicom.library import pydicom
from umlite.dicom.sources import Inflated, Source
from umlite.errors import InputError
from umlite.volume.formats import DICOM, HEAD_BYTES, format_of

_HEAD_SIZES = (1 << 17, 1 << 24, 1 << 26)
"""Bytes of a file that are tried for its header, one after the other."""
_MOST_ITEMS = 200_000
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_ITEM_MARKS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
_DEFLATED = "1.2.840.10008.1.2.1.99"
_MOST_TEXT = 64
_KEYWORDS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "Modality",
    "ImageType",
    "SeriesNumber",
    "SeriesDescription",
    "StudyDate",
    "SeriesDate",
    "AcquisitionDate",
    "AcquisitionTime",
    "PatientName",
    "PatientID",
    "InstanceNumber",
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "ConvolutionKernel",
    "KVP",
    "NominalPercentageOfCardiacPhase",
    "TriggerTime",
    "ContrastBolusAgent",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "NumberOfFrames",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "ModalityLUTSequence",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "GantryDetectorTilt",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "ContentTime",
)


@dataclass(frozen=True, eq=False)
class Header:
    """A data set up to its pixels.

    source: the file. start: byte where the value of the pixels begins, None where there are none. length: of that
    value, None where it is in fragments. syntax: UID of how it is encoded.
    """

    source: Source
    data: Any
    syntax: str
    class_uid: str
    instance_uid: str
    start: int | None
    length: int | None
    little_endian: bool

    def text(self, keyword: str) -> str:
        """A value in printable characters, at most 64; empty where it is missing."""
        return text_of(self.data, keyword)

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Exactly `count` finite numbers; None where they are missing or others."""
        return numbers_of(self.data, keyword, count)

    def number(self, keyword: str) -> float | None:
        """One finite number; None where it is missing."""
        found = self.numbers(keyword, 1)
        return None if found is None else found[0]


def is_dicom(source: Source) -> bool:
    """Whether a file looks like DICOM, with its mark or without."""
    head = source.read(0, HEAD_BYTES)
    bare = head[:4] in (b"\x08\x00\x00\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00", b"\x08\x00\x16\x00")
    return format_of(head) == DICOM or (bare and len(head) == HEAD_BYTES)


def read_header(source: Source, *, every: bool = False) -> Header:
    """Read a file up to its pixels: what reading a scan needs, or `every` element.

    Raises InputError for one that is no DICOM or damaged.
    """
    size = source.size
    for most in _HEAD_SIZES:
        head = source.read(0, most)
        whole = len(head) < most or len(head) >= size
        try:
            header = _parse(source, head, None if every else _tags())
        except InputError:
            raise
        except Exception as error:  # the library raises anything where a header is damaged or cut
            if whole:
                raise InputError(f"{source.name} is a damaged DICOM file ({_brief(error)}). Copy it again.") from error
            continue
        if whole or header.start is not None:
            return header
    raise InputError(f"{source.name} has a header of over {_HEAD_SIZES[-1] >> 20} MiB. Export it again.")


def text_of(data: Any, keyword: str) -> str:
    """Text as `Header.text` gives it, from any data set."""
    value = _value(data, keyword)
    if value is None:
        return ""
    parts = value if _is_list(value) else [value]
    text = "\\".join(str(part) for part in parts[:8])
    return "".join(c for c in text if c.isprintable()).strip()[:_MOST_TEXT]


def numbers_of(data: Any, keyword: str, count: int) -> tuple[float, ...] | None:
    """Numbers as `Header.numbers` gives them, from any data set."""
    value = _value(data, keyword)
    parts = list(value) if _is_list(value) else [value]
    if len(parts) != count:
        return None
    try:
        numbers = tuple(float(part) for part in parts)
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if all(math.isfinite(n) for n in numbers) else None


def items_of(data: Any, keyword: str) -> list[Any]:
    """The items of a sequence; none where it is missing."""
    value = _value(data, keyword)
    if value is None or not _is_list(value):
        return []
    return [item for item in value if hasattr(item, "get_item")]


def _parse(source: Source, head: bytes, tags: list[Any] | None) -> Header:
    if sum(head.count(mark) for mark in _ITEM_MARKS) > _MOST_ITEMS:
        raise InputError(f"{source.name} has over {_MOST_ITEMS:,} items in its header. Export it again.")
    filereader = pydicom().filereader
    file = io.BytesIO(head)
    meta, syntax = _meta(file)
    at = file.tell()
    if syntax == _DEFLATED:
        source = Inflated(source, at)
        head = zlib.decompressobj(-zlib.MAX_WBITS).decompress(head[at:], _HEAD_SIZES[0])
        file, at = io.BytesIO(head), 0
    implicit, little = _encoding(head[at : at + 8], syntax)
    data = filereader.read_dataset(file, implicit, little, stop_when=_is_pixels, specific_tags=tags)
    start, length = _pixels(head, file.tell(), little)
    class_uid = text_of(data, "SOPClassUID") or text_of(meta, "MediaStorageSOPClassUID")
    instance_uid = text_of(data, "SOPInstanceUID") or text_of(meta, "MediaStorageSOPInstanceUID")
    plain = "1.2.840.10008.1.2.1" if syntax == _DEFLATED else syntax or _plain_syntax(implicit, little)
    return Header(source, data, plain, class_uid, instance_uid, start, length, little)


def _meta(file: io.BytesIO) -> tuple[Any, str]:
    """The file's own group, where there is one, and the syntax that it states; `file` stands behind it then."""
    filereader = pydicom().filereader
    if file.read(132)[128:] != b"DICM":
        file.seek(0)
    meta = filereader.read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
    return meta, text_of(meta, "TransferSyntaxUID")


def _encoding(start: bytes, syntax: str) -> tuple[bool, bool]:
    """Whether VRs are implicit and bytes little-endian: as the data look, since syntaxes are stated wrongly."""
    implicit = not (start[4:6].isalpha() and start[4:6].isupper())
    little = start[:2] not in (b"\x00\x08", b"\x00\x02") if len(start) >= 2 else syntax != "1.2.840.10008.1.2.2"
    return implicit, little


def _plain_syntax(implicit: bool, little: bool) -> str:
    return "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1" if little else "1.2.840.10008.1.2.2"


def _pixels(head: bytes, at: int, little: bool) -> tuple[int | None, int | None]:
    """Where the value of the pixels begins, and its length."""
    order = "little" if little else "big"
    element = head[at : at + 12]
    if len(element) < 8:
        return None, None
    tag = int.from_bytes(element[:2], order) << 16 | int.from_bytes(element[2:4], order)  # type: ignore[arg-type]
    if tag != _PIXELS[-1]:
        return None, None
    long = element[4:6] in (b"OB", b"OW", b"UN", b"OL")
    length = int.from_bytes(element[8:12] if long else element[4:8], order)  # type: ignore[arg-type]
    return at + (12 if long else 8), None if length == 0xFFFFFFFF else length


def _is_pixels(tag: int, _vr: str | None, _length: int) -> bool:
    return tag in _PIXELS


def _tags() -> list[Any]:
    global _known_tags
    if not _known_tags:
        datadict = pydicom().datadict
        _known_tags = [pydicom().tag.Tag(datadict.tag_for_keyword(keyword)) for keyword in _KEYWORDS]
    return _known_tags


_known_tags: list[Any] = []


def _value(data: Any, keyword: str) -> Any:
    """The value of an element; None where it is missing, empty or cannot be understood."""
    try:
        value = data.get(keyword)
    except Exception:  # the library raises anything where a value is damaged
        return None
    return None if value is None or (_is_list(value) and not len(value)) or value == "" else value


def _is_list(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, (str, bytes)) and hasattr(value, "__getitem__")


def _brief(error: Exception) -> str:
    text = "".join(c for c in str(error) if c.isprintable())
    return text[:120] or type(error).__name__
