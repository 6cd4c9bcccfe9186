"""DICOM series of small phantoms, written by pydicom: what a scanner could have stored."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

ROOT = "2.25.1234567"
AXES = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "axial_flip_columns": ((-1, 0, 0), (0, 1, 0)),
    "axial_flip_rows": ((1, 0, 0), (0, -1, 0)),
    "axial_flip_both": ((-1, 0, 0), (0, -1, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
    "oblique": ((0.96, 0.28, 0), (-0.28, 0.96, 0)),
}
"""Directions of rows and columns, LPS."""

Edit = Callable[[Dataset, int], None]


@dataclass(frozen=True)
class Shot:
    """How a phantom is stored.

    row, column: directions. tilt_degrees: of the gantry, about the rows. spacing_mm: between columns, rows, slices.
    """

    row: Sequence[float] = (1, 0, 0)
    column: Sequence[float] = (0, 1, 0)
    origin: Sequence[float] = (-40.0, -60.0, 15.5)
    spacing_mm: Sequence[float] = (4.0, 4.0, 4.0)
    tilt_degrees: float = 0.0
    position: str = "HFS"
    series: str = f"{ROOT}.2"
    number: int = 2
    first_instance: int = 1
    syntax: str = ExplicitVRLittleEndian
    slope: float = 1.0
    inter: float = -1024.0
    signed: bool = False
    extra: dict[str, object] = field(default_factory=dict)

    @property
    def column_direction(self) -> np.ndarray:
        """With the gantry's tilt."""
        column, normal = np.array(self.column, float), np.cross(self.row, self.column)
        angle = np.radians(self.tilt_degrees)
        return np.cos(angle) * column + np.sin(angle) * normal

    @property
    def step(self) -> np.ndarray:
        """From a slice to the next: along the table, whatever the gantry."""
        return np.cross(self.row, self.column) * self.spacing_mm[2]

    def affine(self) -> np.ndarray:
        """Of the volume [columns, rows, slices], RAS."""
        affine = np.eye(4)
        x, y, _ = self.spacing_mm
        affine[:3, :3] = np.column_stack([np.array(self.row) * x, self.column_direction * y, self.step])
        affine[:3, 3] = self.origin
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def phantom_hu(shape: tuple[int, int, int] = (20, 18, 12), seed: int = 0) -> np.ndarray:
    """Smooth HU and a few odd ones, int16 [columns, rows, slices]."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.linspace(0, 3, n) for n in shape), indexing="ij"))
    hu = 300 * np.sin(grid).sum(axis=0) - 200 + rng.normal(0, 20, shape)
    hu[0, 0], hu[-1, 0] = -1024, 3071
    return hu.round().astype(np.int16)


def write_series(
    folder: Path, hu: np.ndarray, shot: Shot | None = None, *, edit: Edit | None = None, names: str = "shuffled"
) -> Path:
    """One file a slice of `hu` [columns, rows, slices]. edit: changes a data set, given its slice's number."""
    shot = shot or Shot()
    folder.mkdir(parents=True, exist_ok=True)
    order = list(range(hu.shape[2]))
    if names == "shuffled":
        random.Random(1).shuffle(order)
    for k in range(hu.shape[2]):
        data = slice_data(hu[:, :, k], shot, k)
        if edit is not None:
            edit(data, k)
        save(folder / f"{shot.number}_{order[k]:04d}.dcm", data, shot.syntax)
    return folder


def slice_data(hu: np.ndarray, shot: Shot, k: int) -> FileDataset:
    """A CT image of one slice [columns, rows]."""
    data = _common(shot, CTImageStorage, f"{shot.series}.{shot.first_instance + k}")
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.InstanceNumber = shot.first_instance + k
    data.ImagePositionPatient = [_ds(v) for v in np.array(shot.origin) + k * shot.step]
    data.ImageOrientationPatient = [_ds(v) for v in (*shot.row, *shot.column_direction)]
    data.PixelSpacing = [_ds(shot.spacing_mm[1]), _ds(shot.spacing_mm[0])]
    data.SliceThickness = _ds(shot.spacing_mm[2])
    data.GantryDetectorTilt = _ds(shot.tilt_degrees)
    data.RescaleSlope, data.RescaleIntercept, data.RescaleType = _ds(shot.slope), _ds(shot.inter), "HU"
    data.AcquisitionNumber = 1
    for keyword, value in shot.extra.items():
        setattr(data, keyword, value)
    _set_pixels(data, hu.T[None], shot)
    return data


def enhanced_data(hu: np.ndarray, shot: Shot, order: Sequence[int]) -> FileDataset:
    """A multi-frame CT of `hu` [columns, rows, slices], its frames in `order`."""
    data = _common(shot, EnhancedCTImageStorage, f"{shot.series}.1")
    data.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    data.InstanceNumber = 1
    shared, measures, orientation, values = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [_ds(shot.spacing_mm[1]), _ds(shot.spacing_mm[0])]
    measures.SliceThickness = _ds(shot.spacing_mm[2])
    orientation.ImageOrientationPatient = [_ds(v) for v in (*shot.row, *shot.column_direction)]
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = _ds(shot.slope), _ds(shot.inter), "HU"
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    shared.PixelValueTransformationSequence = [values]
    data.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for number, k in enumerate(order):
        group, place, content = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [_ds(v) for v in np.array(shot.origin) + k * shot.step]
        content.DimensionIndexValues = [number + 1]
        group.PlanePositionSequence, group.FrameContentSequence = [place], [content]
        groups.append(group)
    data.PerFrameFunctionalGroupsSequence = groups
    data.NumberOfFrames = len(order)
    _set_pixels(data, hu.transpose(2, 1, 0)[list(order)], shot)
    return data


def save(path: Path, data: FileDataset, syntax: str = ExplicitVRLittleEndian) -> None:
    """Write a data set, compressed where its syntax is."""
    uid = pydicom.uid.UID(syntax)
    if uid.is_compressed and not uid.is_deflated:
        data.compress(uid, generate_instance_uid=False)
        data.save_as(path, enforce_file_format=True)
        return
    data.file_meta.TransferSyntaxUID = uid
    if not uid.is_little_endian:
        data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
    data.file_meta.FileMetaInformationVersion = b"\0\1"
    data.file_meta.ImplementationClassUID = pydicom.uid.PYDICOM_IMPLEMENTATION_UID
    data.file_meta.FileMetaInformationGroupLength = 0
    pydicom.dcmwrite(
        path, data, implicit_vr=uid.is_implicit_VR, little_endian=uid.is_little_endian, force_encoding=True
    )


def as_nifti(path: Path, hu: np.ndarray, affine: np.ndarray) -> Path:
    """The same voxels as a NIfTI file."""
    image = nib.Nifti1Image(hu, affine)
    image.set_sform(affine, "aligned")
    image.set_qform(affine, "unknown")
    nib.save(image, path)
    return path


def _common(shot: Shot, kind: str, instance: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = kind, instance
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = f"{ROOT}.1", shot.series, f"{ROOT}.9"
    data.Modality, data.SeriesNumber, data.SeriesDescription = "CT", shot.number, "Phantom"
    data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = "Phantom^Test", "P1", "", "O"
    data.StudyDate, data.StudyTime, data.AcquisitionDate = "20260102", "101500", "20260102"
    data.AccessionNumber = data.ReferringPhysicianName = data.Laterality = data.PositionReferenceIndicator = ""
    data.StudyID, data.PatientPosition, data.Manufacturer, data.KVP = "1", shot.position, "umlite tests", "120"
    data.ContentDate, data.ContentTime, data.AcquisitionTime = "20260102", "101500", "101500"
    return data


def _set_pixels(data: Dataset, planes: np.ndarray, shot: Shot) -> None:
    """planes: HU, [frames, rows, columns]."""
    stored = np.round((planes - shot.inter) / shot.slope)
    stored = stored.astype(np.int16).view(np.uint16) if shot.signed else np.clip(stored, 0, 65535).astype(np.uint16)
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = planes.shape[1:]
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, int(shot.signed)
    data.PixelData = stored.astype("<u2").tobytes()


def _ds(value: float) -> str:
    """A decimal string of at most 16 characters."""
    return f"{value:.10g}"[:16]
