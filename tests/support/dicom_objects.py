"""Results of DICOM series with given masks, and other programs that read what is made of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pydicom
import pytest

from support.programs import needed
from support.segmentations import blobs, segmentation_on
from umlite.dicom.finding import find_series
from umlite.dicom.reading import read_series
from umlite.dicom.series import Series
from umlite.products.dicom.identity import Maker
from umlite.results.segmentation import Segmentation

needs_dciodvfy = pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy: Debian's dicom3tools")
"""For tests of nothing else; others check what they can without it."""
MAKER = Maker("phantom weights", "ab" * 32, "Not for clinical use.")


def only_series(folder: Path, *, fill_gaps: bool = False) -> Series:
    """The one series of a folder."""
    (series,) = find_series([folder]).choose("all", fill_gaps=fill_gaps)
    return series


def result_of(series: Series, masks: Mapping[str, np.ndarray]) -> Segmentation:
    """A result with these masks on a series' scan."""
    return segmentation_on(read_series(series, force_geometry=True), dict(masks))


def overlapping_masks(shape: tuple[int, int, int], seed: int = 0) -> dict[str, np.ndarray]:
    """Masks of six classes that overlap: one lies in few planes, one is empty."""
    rng = np.random.default_rng(seed)
    names = ("right_kidney", "left_kidney", "liver", "celiac_trunk", "liver_tumor", "kidney_cyst")
    masks = {name: blobs(rng, shape) for name in names}
    masks["liver_tumor"][:, :, : shape[2] // 2] = False
    return masks | {"spleen": np.zeros(shape, bool)}


def check_by_dciodvfy(path: Path) -> list[str]:
    """Warnings of dciodvfy about a file, which must have no errors; none where it is missing."""
    if shutil.which("dciodvfy") is None:
        return []
    said = run("dciodvfy", path, check=False)
    lines = [line for line in said.splitlines() if line.startswith(("Error", "Warning"))]
    errors = [line for line in lines if line.startswith("Error")]
    assert not errors, "\n".join(errors)
    return lines


def run(program: str, *arguments: object, check: bool = True) -> str:
    """What a program says. The test is skipped where it is missing."""
    done = subprocess.run(
        [needed(program, "dcmqi"), *map(str, arguments)], capture_output=True, text=True, errors="replace"
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def frames_of_seg(path: Path, pixels: np.ndarray) -> dict[str, dict[tuple[float, ...], np.ndarray]]:
    """Frames [columns, rows] by label of segment and by position, from the `pixels` [frames, rows, columns] of a SEG.

    Every frame must name the slice that lies in its place.
    """
    data = pydicom.dcmread(path, stop_before_pixels=True)
    labels = {segment.SegmentNumber: segment.TrackingID for segment in data.SegmentSequence}
    found: dict[str, dict[tuple[float, ...], np.ndarray]] = {}
    for group, frame in zip(data.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        label = labels[group.SegmentIdentificationSequence[0].ReferencedSegmentNumber]
        place = tuple(float(mm) for mm in group.PlanePositionSequence[0].ImagePositionPatient)
        found.setdefault(label, {})[place] = frame.T
    return found
