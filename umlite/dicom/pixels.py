"""Pixels of one plane to HU, whatever they are packed with."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from umlite.dicom.apart import decode_apart
from umlite.dicom.codestream import stated_size
from umlite.dicom.fragments import fragment_places
from umlite.dicom.frames import Frame, Pixels
from umlite.dicom.header import Header
from umlite.dicom.library import pydicom
from umlite.errors import InputError

AIR_HU = -1024
"""What a plane holds where nothing was measured."""
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.113619.5.2")
_PACKAGES = {
    "1.2.840.10008.1.2.4.50": "pillow",
    "1.2.840.10008.1.2.4.51": "pillow",
    "1.2.840.10008.1.2.4.57": "python-gdcm",
    "1.2.840.10008.1.2.4.70": "python-gdcm",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pillow",
    "1.2.840.10008.1.2.4.91": "pillow",
    "1.2.840.10008.1.2.4.201": "pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg-openjpeg",
}
"""What decodes a compressed syntax where pydicom itself does not."""
_RLE = "1.2.840.10008.1.2.5"
_MOST_OVERHEAD = 1 << 20
_INT16 = np.iinfo(np.int16)


def check_syntax(frame: Frame) -> None:
    """Raise InputError, with what to install, where nothing here decodes the plane's syntax."""
    syntax = frame.header.syntax
    if syntax in _NATIVE:
        return
    try:
        decoder = pydicom().pixels.get_decoder(syntax)
    except NotImplementedError as error:
        raise InputError(
            f"{frame.name} is stored as {_name(syntax)}, which cannot be decoded. Export the series uncompressed."
        ) from error
    if not decoder.is_available:
        package = _PACKAGES.get(syntax, "python-gdcm")
        raise InputError(
            f"{frame.name} is stored as {_name(syntax)}, which needs a decoder that is not installed: "
            f"pip install {package}."
        )


def read_hu(frame: Frame) -> np.ndarray:
    """The HU of a plane, [rows, columns]: int16 where whole numbers are stored and all of them fit, else float32.

    Padding becomes air. Raises InputError where the pixels are cut short, damaged or packed in an unknown way.
    """
    stored = _read_stored(frame)
    if stored.shape != (frame.pixels.rows, frame.pixels.columns):
        raise InputError(f"{frame.name} unpacks to another size than its header states. Export the series again.")
    padded = None
    if frame.pixels.padding is not None:
        low, high = frame.pixels.padding
        padded = (stored >= low) & (stored <= high)
    if float(frame.slope).is_integer() and float(frame.inter).is_integer() and abs(frame.inter) < 2**31:
        slope = int(np.clip(frame.slope, -(2**31), 2**31))
        hu = stored.astype(np.int64) * slope + int(frame.inter)
        if padded is not None:
            hu[padded] = AIR_HU
        if hu.min() >= _INT16.min and hu.max() <= _INT16.max:
            return hu.astype(np.int16)
        return hu.astype(np.float32)
    with np.errstate(over="ignore"):
        scaled = (stored * frame.slope + frame.inter).astype(np.float32)
    if padded is not None:
        scaled[padded] = AIR_HU
    return scaled


def stored_bytes(frame: Frame) -> bytes:
    """The plane as its file holds it, to compare it with another."""
    return _native_bytes(frame) if frame.header.syntax in _NATIVE else _fragments(frame)


def _read_stored(frame: Frame) -> np.ndarray:
    """Stored numbers of a plane, integers [rows, columns], without what else the words of pixels hold."""
    pixels, header = frame.pixels, frame.header
    if header.syntax in _NATIVE:
        kind = f"{'<' if header.little_endian else '>'}u{pixels.bits_allocated // 8}"
        words = np.frombuffer(_native_bytes(frame), kind).reshape(pixels.rows, pixels.columns)
        return _without_other_bits(words, pixels)
    check_syntax(frame)
    array = _decode(frame, _fragments(frame))
    return array if array.dtype.kind in "iu" else array.astype(np.int64)


def _native_bytes(frame: Frame) -> bytes:
    size = frame.pixels.frame_bytes
    data = frame.header.source.read((frame.header.start or 0) + frame.index * size, size)
    if len(data) < size:
        raise InputError(f"{frame.name} is cut short: {len(data):,} of {size:,} bytes of pixels. Copy it again.")
    return data


def _without_other_bits(words: np.ndarray, pixels: Pixels) -> np.ndarray:
    """Bits above the highest stored one held overlays once, and hold rubbish in places."""
    left = pixels.bits_allocated - 1 - pixels.high_bit
    right = pixels.bits_allocated - pixels.bits_stored
    width = pixels.bits_allocated // 8
    shifted = words.astype(f"=u{width}") << np.array(left, f"=u{width}")
    return shifted.view(f"=i{width}") >> right if pixels.signed else shifted >> np.array(right, f"=u{width}")


def _decode(frame: Frame, data: bytes) -> np.ndarray:
    library, pixels = pydicom(), frame.pixels
    options = {
        "rows": pixels.rows,
        "columns": pixels.columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": pixels.photometric,
        "bits_allocated": pixels.bits_allocated,
        "bits_stored": pixels.bits_stored,
        "pixel_representation": int(pixels.signed),
        "pixel_keyword": "PixelData",
    }
    syntax = frame.header.syntax
    if syntax != _RLE and stated_size(data) != (pixels.rows, pixels.columns):
        raise InputError(f"{frame.name} holds a compressed image of another size than it states, or a damaged one.")
    decoder = library.pixels.get_decoder(syntax)
    plugin = min(decoder.available_plugins, key=lambda name: name == "gdcm")
    try:
        if plugin == "gdcm":  # which can end the process where data are bad
            return decode_apart(syntax, data, options)
        array, _ = decoder.as_array(
            library.encaps.encapsulate([data]), index=0, raw=True, decoding_plugin=plugin, **options
        )
    except Exception as error:  # decoders raise anything where data are damaged
        raise InputError(f"{frame.name} cannot be decoded ({_name(syntax)}): copy it again.") from error
    return array


def _fragments(frame: Frame) -> bytes:
    """The compressed bytes of a plane: a fragment of many, or all of them where the file has one plane."""
    header, count = frame.header, frame.pixels.frames
    start = header.start or 0
    if count == 1:
        data = header.source.read(start, 4 * frame.pixels.frame_bytes + _MOST_OVERHEAD)
        return b"".join(_part(frame, data, *place) for place in fragment_places(_Bytes(data), 0))
    places = _places_of(header)
    if len(places) != count:
        raise InputError(
            f"{frame.name}: {count} planes lie in {len(places)} fragments. Export the series uncompressed."
        )
    first, length = places[frame.index]
    return _part(frame, header.source.read(first, length), 0, length)


def _part(frame: Frame, data: bytes, start: int, length: int) -> bytes:
    part = data[start : start + length]
    if len(part) < length:
        raise InputError(f"{frame.name} is cut short within its compressed pixels. Copy it again.")
    return part


@dataclass(frozen=True)
class _Bytes:
    data: bytes

    def read(self, start: int, length: int) -> bytes:
        return self.data[start : start + length]


@functools.lru_cache(maxsize=2)
def _places_of(header: Header) -> tuple[tuple[int, int], ...]:
    return tuple(fragment_places(header.source, header.start or 0))


def _name(syntax: str) -> str:
    uid = pydicom().uid.UID(syntax)
    return uid.name if uid.name == syntax else f"{uid.name} ({syntax})"
