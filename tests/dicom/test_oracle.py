"""Real series against dcm2niix, voxel for voxel; where it drops a tilt or a gap, the headers decide."""

from __future__ import annotations

import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from support.programs import needed
from umlite.dicom.finding import find_series
from umlite.dicom.pixels import read_hu
from umlite.dicom.reading import read_series

STRAIGHT = (
    "example_ct_dicom",
    pytest.param("series/cptac_pda_abdomen", marks=pytest.mark.slow),
    pytest.param("series/ibsi_sts/STS_044/dicom/CT/image", marks=pytest.mark.slow),
    "series/singles/dcmqi/ct-3slice",
    "series/singles/dcmqi/24x38x3/image",
    "series/singles/dcmqi/24x38x3/multiframe",
    "series/singles/dcmqi/23x38x3/multiframe",
)
ODD = (
    pytest.param("series/dcmqa_philips_tilt/S2010", marks=pytest.mark.slow),
    "series/dcmqa_ge_tilt",
    "series/dicomnumpy_gaps",
)
PADDING = (-3024, -1500)
"""HU of the padding of these series, which dcm2niix leaves."""


def converted(folder: Path, place: Path) -> list[nib.Nifti1Image]:
    """What dcm2niix makes of a folder, in the order of its names: the plainly named file first."""
    program = needed("dcm2niix", "dcm2niix")
    subprocess.run([program, "-z", "n", "-b", "n", "-f", "a", "-o", place, folder], check=True, capture_output=True)
    return [nib.load(file) for file in sorted(place.glob("*.nii"), key=lambda file: len(file.name))]


def only(folder: Path):
    (series,) = find_series([folder]).choose("all", fill_gaps=True)
    return series


@pytest.mark.parametrize("name", STRAIGHT)
def test_shape_place_and_hu(shared: Path, name: str, tmp_path: Path) -> None:
    folder = shared / "data" / name
    scan = read_series(only(folder), force_geometry=True)
    ours = nib.as_closest_canonical(nib.Nifti1Image(scan.hu, scan.affine))
    theirs = nib.as_closest_canonical(converted(folder, tmp_path)[0])
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4)
    hu = np.asarray(theirs.dataobj)
    np.testing.assert_array_equal(np.asarray(ours.dataobj), np.where(np.isin(hu, PADDING), -1024, hu))


@pytest.mark.parametrize("name", ODD)
def test_hu_of_slices_where_their_place_is_wrong(shared: Path, name: str, tmp_path: Path) -> None:
    folder = shared / "data" / name
    series = only(folder)
    theirs = np.asarray(converted(folder, tmp_path)[0].dataobj)  # rows are stored upside down
    hu = np.stack([read_hu(frame).T[:, ::-1] for frame in series.frames], axis=2)
    np.testing.assert_array_equal(hu, np.where(np.isin(theirs, PADDING), -1024, theirs))


@pytest.mark.parametrize("name", ODD)
def test_places_are_those_of_the_headers(shared: Path, name: str) -> None:
    series = only(shared / "data" / name)
    scan = read_series(series)
    places = np.array([frame.position * (-1, -1, 1) for frame in series.frames])
    index = np.linalg.solve(scan.affine, np.column_stack([places, np.ones(len(places))]).T)
    assert np.abs(index[:2]).max() < 0.01  # all first pixels lie on the line of first voxels
    assert index[2].min() > -1e-3
    assert index[2].max() < scan.shape[2] - 1 + 1e-3
    on_a_plane = np.abs(index[2] - np.round(index[2])) < 1e-3
    for frame, place in zip(np.array(series.frames)[on_a_plane], index[2][on_a_plane], strict=True):
        np.testing.assert_array_equal(scan.hu[:, :, round(place)], read_hu(frame).T)
