"""Hostile patients and studies: odd values and bytes in what DICOM objects take over from the scan's files."""

from __future__ import annotations

import functools
import io
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom

from bench.fuzz.dicom import sound_files
from bench.fuzz.mutation import odd_bytes
from umlite.class_table import ClassTable
from umlite.dicom.finding import find_series
from umlite.dicom.library import quietly
from umlite.dicom.reading import read_series
from umlite.masks.bitmask import BitMask
from umlite.masks.on_scan import ResampledMasks
from umlite.products.dicom.identity import Maker
from umlite.products.dicom.key_images import KeyImagePaths, write_key_images
from umlite.products.dicom.origin import origin_of
from umlite.products.dicom.report import write_report
from umlite.products.dicom.segmentation import rehearse_seg, write_seg
from umlite.results.segmentation import Segmentation
from umlite.results.statistics import statistics
from umlite.sweep.runner import WindowCounts
from umlite.volume.geometry import Grid
from umlite.volume.preparation import Frame
from umlite.volume.reading import Scan
from umlite.weights.loading import read_card

VALUES = {
    "PatientName": ("Muster^Eva", "a=b=c=d=e", "^^^^^^^", "x" * 100, "ÄÖ"),
    "PatientID": ("1", "", "1\\2", "y" * 100),
    "PatientBirthDate": ("19500101", "1950", "99999999", "x"),
    "PatientSex": ("F", "female", "M\\F"),
    "PatientAge": ("050Y", "50"),
    "StudyInstanceUID": ("1.2.3", "x", "1." * 40),
    "FrameOfReferenceUID": ("1.2.4", "0", "x"),
    "StudyDate": ("20260101", "20261301", "2026-01-01"),
    "StudyTime": ("101500", "256161", "10:15"),
    "AcquisitionDate": ("20260101", "x"),
    "StudyID": ("7", "z" * 40),
    "AccessionNumber": ("8", "1\\2"),
    "SpecificCharacterSet": ("ISO_IR 100", "\\ISO 2022 IR 87", "ISO_IR 999", "latin-1"),
    "SOPInstanceUID": ("2.25.77",),
    "SeriesNumber": ("2", "-7", "2147483647"),
}
CLASSES = ("liver", "prostate", "liver_tumor")


def dicom_out(rng: random.Random, folder: Path) -> Callable[[], object]:
    """Three slices with odd words about patient and study, and odd bytes among them."""
    files = [_with_words(rng, data) for data in sound_files(pydicom.uid.ExplicitVRLittleEndian)]
    if rng.random() < 0.6:
        files[0] = odd_bytes(rng, files[0], rng.choice((600, 1200)))
    (folder / "in").mkdir()
    for number, data in enumerate(files):
        (folder / "in" / f"{number}.dcm").write_bytes(data)
    rest = rng.random() < 0.2
    return lambda: _write(folder, rest=rest)


def _with_words(rng: random.Random, data: bytes) -> bytes:
    with quietly():
        read = pydicom.dcmread(io.BytesIO(data))
        for keyword, values in VALUES.items():
            if rng.random() < (0.3 if keyword == "SOPInstanceUID" else 0.8):
                kind = pydicom.datadict.dictionary_VR(pydicom.datadict.tag_for_keyword(keyword))
                value = values[0] if rng.random() < 0.7 else rng.choice(values)
                read.add(pydicom.DataElement(keyword, kind, value, validation_mode=pydicom.config.IGNORE))
        written = io.BytesIO()
        try:
            read.save_as(written)
        except Exception:  # what the writer refuses is no input
            return data
    return written.getvalue()


def _write(folder: Path, *, rest: bool) -> None:
    for series in find_series([folder / "in"]).choose("all", fill_gaps=True):
        origin = origin_of(series)
        rehearse_seg(origin)
        result = _result(read_series(series, force_geometry=True))
        found, maker = statistics(result), Maker("fuzz", "ab" * 32)
        seg = write_seg(folder / "seg.dcm", result, origin, maker)
        if rest:
            write_report(folder / "report.dcm", result, found, origin, maker, seg)
            paths = KeyImagePaths(*(folder / f"{name}.dcm" for name in ("images", "montage", "note")))
            write_key_images(paths, result, found, origin, maker)
        for path in folder.glob("*.dcm"):
            with quietly():
                str(pydicom.dcmread(path))


def _result(scan: Scan) -> Segmentation:
    grid = Grid(scan.shape, scan.affine)
    mask = np.zeros(scan.shape, bool)
    mask[1:5, 1:6] = True
    masks = ResampledMasks(
        BitMask.from_masks(dict.fromkeys(CLASSES, mask)), Frame((0, 1, 2), grid, grid, (0, 0, 0), scan.shape)
    )
    card = _card()
    classes = ClassTable(card.classes).resolve(CLASSES)
    return Segmentation(scan, classes, masks, WindowCounts(1, 0, 1), {}, (), (), card)


@functools.cache
def _card():
    return read_card(Path(__file__).parents[2] / "umlite" / "weights" / "demo.safetensors")


TARGETS = {"dicom_out": dicom_out}
