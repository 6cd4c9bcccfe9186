"""A series as a scan: its description first, its voxels when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.spatialimages import SpatialImage

from umlite.dicom.finding import find_series, is_dicom_path
from umlite.dicom.frames import Frame
from umlite.dicom.series import Series
from umlite.dicom.spacing import Plan, Row, plan_volume
from umlite.dicom.voxels import series_voxels
from umlite.errors import InputError
from umlite.files import expanded
from umlite.volume.forms import Forms
from umlite.volume.header import Header
from umlite.volume.plausibility import ScanFinding
from umlite.volume.reading import Opened, Scan, read_scan, scan_of
from umlite.volume.voxels import Voxels


@dataclass(frozen=True, eq=False)
class OpenSeries:
    """A series that is described and not yet read.

    header: shape, type and place. remarks: what is unusual.
    """

    series: Series
    plan: Plan
    header: Header
    remarks: tuple[ScanFinding, ...]

    def read(self) -> Voxels:
        """Decode its planes. Raises InputError where they are damaged or need a package that is not installed."""
        return series_voxels(self.series.frames, self.plan)


def only_series(path: Path) -> Series:
    """The one CT series of a folder, an archive or a file. Raises InputError where there is none or more than one."""
    chosen = find_series([path]).choose()
    if len(chosen) > 1:
        told = ", ".join(f"{one.number} ({one.about.description or one.orientation})" for one in chosen[:5])
        raise InputError(f"{path} holds {len(chosen)} CT series: {told}. Choose one.", about="series")
    return chosen[0]


def open_series(series: Series) -> OpenSeries:
    """Describe a series as a volume. Raises InputError where its planes make none."""
    frames = series.frames
    if series.stack is None or not series.is_scan:
        raise InputError(f"{series.label} is no CT scan: {series.reason}.")
    plan = plan_volume(frames, series.label, fill_gaps=series.fill_gaps)
    pixels = frames[0].pixels
    remarks = tuple(_remarks(series, plan))
    forms = Forms.of_affine(plan.affine)
    affine = np.asarray(forms.template.get_sform(), dtype=np.float64)  # as files on this grid will state it
    kind = np.dtype(f"{'i' if pixels.signed else 'u'}{pixels.bits_allocated // 8}")
    shape = (pixels.columns, pixels.rows, len(plan.planes))
    header = Header(shape, kind, affine, forms, 1.0, 0.0, ())
    return OpenSeries(series, plan, header, remarks)


def _remarks(series: Series, plan: Plan) -> Iterator[ScanFinding]:
    frames, about = series.frames, series.about
    if about.is_made:
        yield ScanFinding("series-uid", "Its files name no series UID: one was made from their instances.")
    if unnamed := sum(not frame.header.text("SOPInstanceUID") for frame in frames):
        yield ScanFinding("instance-uid", f"{unnamed} of its slices name no instance UID where they should.")
    if not about.modality:
        yield ScanFinding("modality", "Its files name no modality: CT was assumed, as their kind of object says.")
    if any(frame.header.number("RescaleSlope") is None and frame.pixels.frames == 1 for frame in frames):
        yield ScanFinding("rescale", "Its files do not say how stored numbers become HU: they were taken as HU.")
    if series.left_out:
        more = f", and {len(series.left_out) - 1} more" if len(series.left_out) > 1 else ""
        yield ScanFinding("left-out", f"A file was left out{more}: {series.left_out[0]}")
    if series.stack is not None and series.stack.doubles:
        yield ScanFinding(
            "double",
            f"{series.stack.doubles} slices too many lay in places of others, equal to them, and were left out.",
        )
    if len(frames) > 1 and (row := Row.of(frames)).is_tilted:
        yield ScanFinding(
            "tilt", f"The gantry was tilted by {row.tilt_degrees:.3g} degrees: its voxels stay in a sheared grid."
        )
    if plan.is_filled:
        yield _filled(frames, plan)


def _filled(frames: tuple[Frame, ...], plan: Plan) -> ScanFinding:
    made, gaps = sum(plane.share > 0 for plane in plan.planes), Row.of(frames).describe_gaps()
    return ScanFinding("filled", f"{made} of {len(plan.planes)} slices were interpolated, not measured: {gaps}.")


def read_series(source: Series | Path, *, force_geometry: bool = False) -> Scan:
    """Read a CT series: one that `find_series` found, or the only one of a folder, a zip archive or a file.

    force_geometry: as of `read_scan`.
    Raises InputError where it cannot be one volume of HU in a known place, or where a package is missing.
    """
    series = source if isinstance(source, Series) else only_series(source)
    opened = open_series(series)
    made = Opened(opened.header, series.name, series.label, series.path, lambda _notify: opened.read(), opened.remarks)
    return scan_of(made, force_geometry=force_geometry)


def read_source(source: str | os.PathLike[str] | SpatialImage | Series, *, force_geometry: bool = False) -> Scan:
    """Read a scan of any format: DICOM, or what `read_scan` reads.

    DICOM is a folder, a zip archive or a file that holds one CT series, or one that `find_series` found.
    force_geometry: as of `read_scan`.
    Raises InputError as `read_series` and `read_scan` do.
    """
    if isinstance(source, Series):
        return read_series(source, force_geometry=force_geometry)
    if isinstance(source, (str, os.PathLike)) and is_dicom_path(path := expanded(source)):
        return read_series(path, force_geometry=force_geometry)
    return read_scan(source, force_geometry=force_geometry)
