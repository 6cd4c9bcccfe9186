"""The series that DICOM objects are made for: whose scan it is, where its planes lie, what objects refer to."""

from __future__ import annotations

import contextlib
import copy
import functools
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from umlite.dicom.frames import Frame
from umlite.dicom.header import read_header
from umlite.dicom.library import pydicom, quietly
from umlite.dicom.series import Series
from umlite.dicom.spacing import Plan, Row, plan_volume
from umlite.errors import InputError
from umlite.products.dicom.identity import digest_of, made_uid

if TYPE_CHECKING:
    from umlite.volume.reading import Scan

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
_EMPTY_IF_MISSING = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate"),
    *("StudyTime", "ReferringPhysicianName"),
)
_DATES, _TIMES = ("PatientBirthDate", "StudyDate"), ("StudyTime",)
_SEVERAL_SETS, _UTF8 = "ISO 2022", "ISO_IR 192"
_SEXES = ("M", "F", "O")
_KEPT_GROUPS = (0x0008, 0x0010, 0x0012, 0x0018, 0x0032, 0x0040)
_KEPT = ("StudyID", "PositionReferenceIndicator")
_LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")


@dataclass(frozen=True, eq=False)
class Origin:
    """A series as its objects see it.

    Args:
        series: the series.
        plan: how its planes became the scan's.
        whole: every element of its first slice, up to the pixels.
        study_uid, frame_of_reference_uid: its own, or made from the series' where it has none.
        remarks: sentences about what objects cannot say.
    """

    series: Series
    plan: Plan
    whole: Any
    study_uid: str
    frame_of_reference_uid: str
    remarks: tuple[str, ...]

    @property
    def series_uid(self) -> str:
        return self.series.about.uid

    @property
    def part(self) -> str:
        """What tells its stack from others of the series; empty for the only one."""
        return self.series.stack.part if self.series.stack else ""

    @functools.cached_property
    def key(self) -> tuple[str, ...]:
        """What tells the objects of this scan from those of others, and of a patient whose data were corrected."""
        return digest_of(self.stand_in()), self.series_uid, self.part

    @property
    def patient_sex(self) -> str:
        """M, F or O; empty where it is not stated."""
        return str(self.stand_in().PatientSex or "")

    def frame(self, plane: int) -> Frame | None:
        """The measured plane that is a plane of the scan's last axis; None for one that was interpolated."""
        place = self.plan.planes[plane]
        return self.series.frames[place.first] if place.first == place.second else None

    @property
    def is_measured(self) -> np.ndarray:
        """Bool [planes]: which planes of the scan's last axis were measured."""
        return np.array([place.first == place.second for place in self.plan.planes])

    @property
    def between_slices_mm(self) -> float:
        """Distance of the scan's planes along their normal."""
        affine = self.plan.affine[:3, :3]
        normal = np.cross(affine[:, 0], affine[:, 1])
        return float(abs(affine[:, 2] @ normal) / np.linalg.norm(normal))

    def check(self, scan: Scan) -> None:
        """Raise InputError where a scan is not this series."""
        pixels = self.series.frames[0].pixels
        shape = (pixels.columns, pixels.rows, len(self.plan.planes))
        if scan.shape != shape or not np.allclose(scan.affine, self.plan.affine, atol=1e-3):
            raise InputError(
                f"{self.series.label} is another scan than the one that was segmented: expected {scan.shape} voxels in "
                f"the same place, found {shape}. Give the series that was segmented."
            )

    def stand_in(self, frame: Frame | None = None) -> Any:
        """A data set for a plane, by default the first one, with what objects copy from it."""
        from pydicom.dataset import Dataset
        from pydicom.valuerep import format_number_as_ds

        frame = frame or self.series.frames[0]
        data = Dataset()
        for tag in sorted(self.whole.keys()):
            if tag.group in _KEPT_GROUPS or pydicom().datadict.keyword_for_tag(tag) in (*_KEPT, *_LOSSY):
                with contextlib.suppress(Exception):  # the library raises anything where an element is damaged
                    data.add(copy.copy(self.whole[tag]))
        _tidy(data)
        data.SOPClassUID, data.SOPInstanceUID = class_of(frame), frame.header.instance_uid
        data.StudyInstanceUID, data.SeriesInstanceUID = self.study_uid, self.series_uid
        data.FrameOfReferenceUID, data.Modality = self.frame_of_reference_uid, "CT"
        data.Rows, data.Columns = frame.pixels.rows, frame.pixels.columns
        data.ImagePositionPatient = [format_number_as_ds(float(mm)) for mm in frame.position]
        data.ImageOrientationPatient = [format_number_as_ds(float(part)) for part in (*frame.row, *frame.column)]
        columns_mm, rows_mm = frame.spacing_mm
        data.PixelSpacing = [format_number_as_ds(rows_mm), format_number_as_ds(columns_mm)]
        data.SliceThickness = format_number_as_ds(frame.thickness_mm or self.between_slices_mm)
        return data


def origin_of(series: Series) -> Origin:
    """What objects need of a series, found before anything is computed.

    Raises InputError where objects could not refer to its slices, or not all measured planes are the scan's.
    """
    _check_package()
    frames = series.frames
    plan = plan_volume(frames, series.label, fill_gaps=series.fill_gaps)
    _check_instances(series)
    remarks = []
    with quietly():
        whole = read_header(frames[0].header.source, every=True).data
        study, reference = str(whole.get("StudyInstanceUID") or ""), str(whole.get("FrameOfReferenceUID") or "")
    if series.about.is_made or not study:
        remarks.append("Its files name no study or series UID: the DICOM objects are of a study of their own.")
    if plan.is_filled:
        remarks.append(_left_out(series, plan))
    seed = series.about.uid
    return Origin(
        series,
        plan,
        whole,
        study or made_uid("study", seed),
        reference or made_uid("frame of reference", seed),
        tuple(remarks),
    )


def class_of(frame: Frame) -> str:
    """UID of the kind of object that a plane is stored as; that of CT images where its file does not say."""
    return frame.header.class_uid or CT_IMAGE


def _check_package() -> None:
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise InputError(
            "Writing DICOM needs the package highdicom, which is not installed: pip install 'umlite[dicom]'."
        ) from error


def _check_instances(series: Series) -> None:
    uids = Counter((frame.header.instance_uid, frame.index) for frame in series.frames)
    missing = sum(count for (uid, _), count in uids.items() if not uid)
    if missing:
        raise InputError(
            f"{series.label}: {missing} of {len(series.frames)} slices have no instance UID, so DICOM objects cannot "
            f"refer to them. Write NIfTI, or export the series again."
        )
    if most := max(uids.values()) - 1:
        raise InputError(
            f"{series.label}: {most + 1} slices share one instance UID, so DICOM objects cannot refer to them. Write "
            f"NIfTI, or export the series again."
        )


def _left_out(series: Series, plan: Plan) -> str:
    """What the objects of a filled series leave out. Raises InputError where they would leave out measured planes."""
    measured = {place.first for place in plan.planes if place.first == place.second}
    if len(measured) < len(series.frames):
        raise InputError(
            f"{series.label}: {Row.of(series.frames).describe_gaps()}, so most planes of the filled scan are none that "
            f"was measured, and DICOM objects cannot refer to them. Write NIfTI."
        )
    made = len(plan.planes) - len(measured)
    return f"{made} of {len(plan.planes)} planes were interpolated: DICOM objects hold the measured planes only."


def _tidy(data: Any) -> None:
    """Have what objects must state: empty where it is missing or cannot be understood; text in letters that fit.

    Text in several character sets, or in one of a wrong name, becomes UTF-8, since the library refuses these.
    """
    from highdicom.enum import SpecificCharacterSetValues
    from pydicom.valuerep import DA, TM

    letters = data.get("SpecificCharacterSet")
    known = {value.value for value in SpecificCharacterSetValues if not value.value.startswith(_SEVERAL_SETS)}
    if letters is not None and (not isinstance(letters, str) or letters not in known):
        data.decode()
        data.SpecificCharacterSet = _UTF8

    for keyword in _EMPTY_IF_MISSING:
        if data.get(keyword) is None:
            setattr(data, keyword, "")
    for keywords, kind in ((_DATES, DA), (_TIMES, TM)):
        for keyword in keywords:
            try:
                kind(str(data.get(keyword) or ""))
            except (ValueError, OverflowError):
                setattr(data, keyword, "")
    if data.PatientSex not in _SEXES:
        data.PatientSex = ""
    if "ClinicalTrialTimePointDescription" in data and "ClinicalTrialTimePointID" not in data:
        data.ClinicalTrialTimePointID = ""
    for element in [element for element in data if element.VR == "SQ"]:
        if any("CodeValue" in item and "CodingSchemeDesignator" not in item for item in element.value):
            del data[element.tag]


def series_number(origin: Origin, offset: int) -> int:
    """A number for a series of objects: that of the scan's series and a multiple of a thousand."""
    own = origin.series.about.number
    number = int(float(own)) if own and math.isfinite(float(own)) else 0
    return offset + (number if 0 <= number < 1000 else number % 1000)
