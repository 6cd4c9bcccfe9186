"""The planes of a file: where each lies, what it was made under, and how its pixels become HU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from umlite.dicom.fragments import fragment_places
from umlite.dicom.header import Header, items_of, numbers_of, text_of
from umlite.dicom.sources import FileSource
from umlite.errors import InputError

_MOST_SIDE, _MOST_FRAMES = 8192, 16_384
_BITS = (8, 16, 32)
_KEYS = (
    "TemporalPositionIndex",
    "TemporalPositionIdentifier",
    "StackID",
    "AcquisitionNumber",
    "NominalPercentageOfCardiacPhase",
    "TriggerTime",
    "KVP",
    "ConvolutionKernel",
    "ContrastBolusAgent",
    "ImageType",
    "AcquisitionTime",
    "ContentTime",
)
"""What tells two phases or stacks of one series apart, the surest first."""


@dataclass(frozen=True)
class Pixels:
    """How a file stores pixels.

    bits_allocated, bits_stored, high_bit: of one pixel. signed: two's complement. padding: least and greatest stored
    number that mean "nothing here", None where none does.
    """

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    photometric: str
    frames: int
    padding: tuple[int, int] | None

    @property
    def frame_bytes(self) -> int:
        """Bytes of one plane that is not compressed."""
        return self.rows * self.columns * self.bits_allocated // 8


@dataclass(frozen=True, eq=False)
class Frame:
    """One plane.

    header, pixels: of its file. index: within it. position: of the first pixel's centre, float64 [3], LPS mm. row,
    column: unit vectors along a row of pixels and down a column, float64 [3], LPS. spacing_mm: between columns and
    between rows. slope, inter: to HU. keys: name and value of what tells phases apart.
    """

    header: Header
    pixels: Pixels
    index: int
    position: np.ndarray
    row: np.ndarray
    column: np.ndarray
    spacing_mm: tuple[float, float]
    thickness_mm: float | None
    slope: float
    inter: float
    number: int
    keys: dict[str, str]

    @property
    def normal(self) -> np.ndarray:
        """Unit vector across the plane, float64 [3], LPS."""
        normal = np.cross(self.row, self.column)
        return normal / np.linalg.norm(normal)

    @property
    def name(self) -> str:
        """What messages call it."""
        name = self.header.source.name
        return f"{name}, frame {self.index + 1}" if self.pixels.frames > 1 else name


def pixels_of(header: Header) -> Pixels:
    """How a file stores pixels. Raises InputError where these cannot be a CT's or are not all there."""
    name = header.source.name

    def whole(keyword: str, default: int | None = None) -> int:
        number = header.number(keyword)
        if number is None and default is None:
            raise InputError(f"{name} does not say its {keyword}. Export it again.")
        return int(default if number is None else number)  # type: ignore[arg-type]

    rows, columns, frames = whole("Rows"), whole("Columns"), whole("NumberOfFrames", 1)
    allocated = whole("BitsAllocated")
    stored = whole("BitsStored", allocated)
    high = whole("HighBit", stored - 1)
    samples = whole("SamplesPerPixel", 1)
    photometric = header.text("PhotometricInterpretation") or "MONOCHROME2"
    if samples != 1 or not photometric.startswith("MONOCHROME"):
        raise InputError(f"{name} holds colours ({photometric}): expected one number a pixel.")
    if not (0 < rows <= _MOST_SIDE and 0 < columns <= _MOST_SIDE and 0 < frames <= _MOST_FRAMES):
        raise InputError(
            f"{name} claims {frames} planes of {columns} x {rows} pixels: no CT has these. Export it again."
        )
    if allocated not in _BITS or not 0 < stored <= allocated or not stored - 1 <= high < allocated:
        raise InputError(f"{name} stores {stored} of {allocated} bits a pixel: expected 8, 16 or 32. Export it again.")
    signed = whole("PixelRepresentation", 0) == 1
    pixels = Pixels(rows, columns, allocated, stored, high, signed, photometric, frames, None)
    _check_length(header, pixels)
    return Pixels(rows, columns, allocated, stored, high, signed, photometric, frames, _padding(header, pixels))


def frames_of(header: Header) -> Iterator[Frame]:
    """The planes of a file. Raises InputError for pixels without a known place or meaning."""
    pixels = pixels_of(header)
    shared = items_of(header.data, "SharedFunctionalGroupsSequence")[:1]
    each = items_of(header.data, "PerFrameFunctionalGroupsSequence")
    if pixels.frames > 1 and len(each) < pixels.frames:
        raise InputError(f"{header.source.name} does not say where its {pixels.frames} planes lie. Export it again.")
    for index in range(pixels.frames):
        groups = [*each[index : index + 1], *shared] if each or shared else []
        yield _frame(header, pixels, index, groups)


def _frame(header: Header, pixels: Pixels, index: int, groups: list[Any]) -> Frame:
    """groups: functional groups of a plane, its own first; none in a file of one plane."""
    place = _Lookup(header, groups)
    position = place.numbers("PlanePositionSequence", "ImagePositionPatient", 3)
    orientation = place.numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6)
    spacing = place.numbers("PixelMeasuresSequence", "PixelSpacing", 2)
    if position is None or orientation is None or spacing is None:
        raise InputError(
            f"{header.source.name} does not say where its pixels lie: expected position, orientation and spacing. "
            f"Export the series again."
        )
    row, column = (_unit(np.array(part), header) for part in (orientation[:3], orientation[3:]))
    if abs(float(row @ column)) > 0.01:
        raise InputError(f"{header.source.name} has rows that are not square to its columns. Export the series again.")
    if min(spacing) < 1e-3 or max(spacing) > 100 or max(map(abs, position)) > 1e6:
        raise InputError(f"{header.source.name} has a pixel spacing or position that no CT has. Export it again.")
    thickness = place.numbers("PixelMeasuresSequence", "SliceThickness", 1)
    keys = {key: place.text(key) for key in _KEYS if place.text(key)}
    return Frame(
        header,
        pixels,
        index,
        np.array(position),
        row,
        column,
        (spacing[1], spacing[0]),
        thickness[0] if thickness else None,
        *place.rescale(),
        int(header.number("InstanceNumber") or 0),
        keys,
    )


class _Lookup:
    """Values of one plane: from its functional groups, else from the data set itself."""

    def __init__(self, header: Header, groups: list[Any]) -> None:
        self._header, self._groups = header, groups

    def numbers(self, sequence: str, keyword: str, count: int) -> tuple[float, ...] | None:
        for group in self._groups:
            for item in items_of(group, sequence)[:1]:
                if (found := numbers_of(item, keyword, count)) is not None:
                    return found
        return self._header.numbers(keyword, count)

    def text(self, keyword: str) -> str:
        for group in self._groups:
            for sequence in ("FrameContentSequence", "CTImageFrameTypeSequence", "CardiacSynchronizationSequence"):
                for item in items_of(group, sequence)[:1]:
                    if found := text_of(item, keyword):
                        return found
        return self._header.text(keyword)

    def rescale(self) -> tuple[float, float]:
        """Slope and intercept; 1 and 0 where none is stated."""
        slope = self.numbers("PixelValueTransformationSequence", "RescaleSlope", 1)
        inter = self.numbers("PixelValueTransformationSequence", "RescaleIntercept", 1)
        if slope is not None and slope[0] == 0:
            raise InputError(f"{self._header.source.name} has a rescale slope of 0. Export the series again.")
        return slope[0] if slope else 1.0, inter[0] if inter else 0.0


def _unit(vector: np.ndarray, header: Header) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    if not 0.9 < length < 1.1:
        raise InputError(f"{header.source.name} has an orientation that is no direction. Export the series again.")
    return vector / length


def _check_length(header: Header, pixels: Pixels) -> None:
    """What is stored without compression has its length; fragments of a file lie within it, and are counted later."""
    if header.start is None:
        raise InputError(f"{header.source.name} has no pixels. Export the series again.")
    if header.length is None:
        _check_fragments(header)
    else:
        wanted = pixels.frame_bytes * pixels.frames
        found = min(header.length, header.source.size - header.start)
        if found < wanted:
            raise InputError(
                f"{header.source.name} is cut short: {found:,} of {wanted:,} bytes of pixels. Copy it again."
            )


def _check_fragments(header: Header) -> None:
    """Check a file of its own: members of an archive would have to be unpacked, and state their lengths themselves."""
    source = header.source
    if not isinstance(source, FileSource):
        return
    places = list(fragment_places(source, header.start or 0))
    if not places or sum(places[-1]) > source.size:
        raise InputError(f"{source.name} is cut short within its compressed pixels. Copy it again.")


def _padding(header: Header, pixels: Pixels) -> tuple[int, int] | None:
    first = header.number("PixelPaddingValue")
    if first is None:
        return None
    last = header.number("PixelPaddingRangeLimit")
    ends = sorted(_as_stored(int(n), pixels) for n in (first, first if last is None else last))
    return ends[0], ends[1]


def _as_stored(number: int, pixels: Pixels) -> int:
    """A number that its element may state with the wrong sign, as these pixels would store it."""
    if pixels.signed and number >= 1 << (pixels.bits_allocated - 1):
        return number - (1 << pixels.bits_allocated)
    if not pixels.signed and number < 0:
        return number + (1 << pixels.bits_allocated)
    return number
