"""Hostile DICOM: odd bytes in headers, pixels and fragments of single files, and in zip archives of them."""

from __future__ import annotations

import functools
import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

from bench.fuzz.mutation import ODD_FLOATS, ODD_NUMBERS, odd_bytes
from umlite.dicom.finding import find_series
from umlite.dicom.library import quietly
from umlite.dicom.reading import read_series

SYNTAXES = (
    pydicom.uid.ImplicitVRLittleEndian,
    pydicom.uid.ExplicitVRLittleEndian,
    pydicom.uid.DeflatedExplicitVRLittleEndian,
    pydicom.uid.RLELossless,
    pydicom.uid.JPEGLSLossless,
)
FIELDS = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "SamplesPerPixel",
    "PixelRepresentation",
    "NumberOfFrames",
    "RescaleSlope",
    "RescaleIntercept",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "InstanceNumber",
    "SmallestImagePixelValue",
)


def dicom(rng: random.Random, folder: Path) -> Callable[[], object]:
    """Three slices, one of them with an odd value or odd bytes."""
    files = list(sound_files(rng.choice(SYNTAXES)))
    at = rng.randrange(len(files))
    for _ in range(rng.choice((1, 1, 3))):
        if files[at]:
            files[at] = _odd_value(rng, files[at]) if rng.random() < 0.4 else odd_bytes(rng, files[at], _reach(rng))
    for number, data in enumerate(files):
        (folder / f"{number}.dcm").write_bytes(data)
    return lambda: _read(folder)


def dicom_zip(rng: random.Random, folder: Path) -> Callable[[], object]:
    """An archive of three slices with odd bytes, mostly in its directory."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for number, data in enumerate(sound_files(pydicom.uid.ExplicitVRLittleEndian)):
            archive.writestr(rng.choice((f"{number}.dcm", f"a/{number}", f"../../{number}")), data)
    data = packed.getvalue()
    tail = data.index(b"PK\x01\x02")
    if rng.random() < 0.6:
        data = data[:tail] + odd_bytes(rng, data[tail:])
    elif rng.random() < 0.9:
        data = odd_bytes(rng, data)
    (folder / "study.zip").write_bytes(data)
    return lambda: _read(folder / "study.zip")


@functools.cache
def sound_files(syntax: str) -> tuple[bytes, ...]:
    """Three slices of 16 x 16 pixels."""
    return tuple(_written(_slice(number), pydicom.uid.UID(syntax)) for number in range(3))


def _read(path: Path) -> None:
    for series in find_series([path]).choose("all", fill_gaps=True):
        scan = read_series(series, force_geometry=True)
        for _ in scan.slabs(2):
            pass


def _reach(rng: random.Random) -> int | None:
    return rng.choice((132, 400, 1200, None))


def _odd_value(rng: random.Random, data: bytes) -> bytes:
    """One element of another value, where the data set can still be read and written."""
    try:
        with quietly():
            read = pydicom.dcmread(io.BytesIO(data))
        element = read[rng.choice(FIELDS)]
        text = str(rng.choice((*ODD_NUMBERS, *ODD_FLOATS, "", "x", "1\\2")))[:16]
        element.value = int(rng.choice(ODD_NUMBERS)) % 2**16 if element.VR == "US" else text
        written = io.BytesIO()
        read.save_as(written)
        return written.getvalue()
    except Exception:  # what the writer refuses is no input
        return odd_bytes(rng, data)


def _slice(number: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = pydicom.uid.CTImageStorage, f"2.25.{number + 1}"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = pydicom.uid.CTImageStorage, f"2.25.{number + 1}"
    data.SeriesInstanceUID, data.Modality, data.ImageType = "2.25.9", "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.PixelSpacing, data.SliceThickness = [20, 20], 5
    data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 5 * number], [1, 0, 0, 0, 1, 0]
    data.RescaleSlope, data.RescaleIntercept, data.InstanceNumber = 1, -1024, number
    data.Rows = data.Columns = data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation, data.SamplesPerPixel = 15, 0, 1
    data.SmallestImagePixelValue, data.PhotometricInterpretation = 0, "MONOCHROME2"
    data.RequestAttributesSequence = [Dataset(), Dataset()]
    data.PixelData = np.random.default_rng(number).integers(0, 3000, 256).astype("<u2").tobytes()
    return data


def _written(data: FileDataset, syntax: pydicom.uid.UID) -> bytes:
    file = io.BytesIO()
    if syntax.is_compressed and not syntax.is_deflated:
        data.compress(syntax, generate_instance_uid=False)
        data.save_as(file, enforce_file_format=True)
    else:
        data.file_meta.TransferSyntaxUID = syntax
        data.save_as(file, implicit_vr=syntax.is_implicit_VR, little_endian=True, enforce_file_format=True)
    return file.getvalue()


TARGETS = {"dicom": dicom, "dicom_zip": dicom_zip}
