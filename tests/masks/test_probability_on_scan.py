"""Probabilities come back to the scan's grid as the whole resampled grid would, a few planes at a time."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from support.samples import make_scan
from umlite.masks.probability_on_scan import SLOPE, STEPS, ProbabilityOnScan
from umlite.volume.geometry import index_map
from umlite.volume.preparation import Frame, prepare_volume
from umlite.volume.reading import read_scan
from umlite.volume.resampling import resample_linear


def turned(image: nib.Nifti1Image, axes: str, degrees: float) -> nib.Nifti1Image:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([3.1, 4.2, 5.7])
    image = nib.Nifti1Image(np.asarray(image.dataobj), affine)
    orientation = nib.orientations.axcodes2ornt(tuple(axes))
    return image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(image.affine), orientation))


def expected_of(model: np.ndarray, frame: Frame) -> np.ndarray:
    whole = torch.zeros(frame.model.shape)
    whole[tuple(slice(a, b) for a, b in zip(frame.start, frame.stop, strict=True))] = torch.from_numpy(model).float()
    values = resample_linear(whole, index_map(frame.stored, frame.model), frame.stored.shape).numpy()
    return values.transpose([frame.axes.index(axis) for axis in range(3)])


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SAR", "PIL"])
@pytest.mark.parametrize("degrees", [0.0, 17.0])
@pytest.mark.parametrize("border", [False, True])
def test_the_same_as_the_whole_grid(axes: str, degrees: float, border: bool) -> None:
    """border: a scan of tissue up to its edge, which is not cropped."""
    image = make_scan((17, 20, 12) if not border else (8, 8, 8))
    scan = read_scan(turned(image, axes, degrees), force_geometry=True)
    volume = prepare_volume(scan, (2.5, 3.0, 4.0), (-175, 250))
    frame = volume.frame
    model = np.random.default_rng(0).integers(0, 256, frame.shape).astype(np.uint8)
    found, expected = ProbabilityOnScan(model, frame), expected_of(model, frame)
    assert found.shape == scan.shape == expected.shape
    assert expected.max() > 100
    assert np.abs(found[:, :, :].astype(float) - expected).max() < 0.51
    for step in (1, 5):
        parts = [found[:, :, k : k + step] for k in range(0, scan.shape[2], step)]
        assert np.abs(np.concatenate(parts, 2).astype(float) - expected).max() < 0.51


def test_air_is_nowhere() -> None:
    air = nib.Nifti1Image(np.full((5, 6, 7), -1000, np.int16), np.diag([4.0, 4, 4, 1]))
    frame = prepare_volume(read_scan(air, force_geometry=True), (4.0, 4.0, 4.0), (-175, 250)).frame
    found = ProbabilityOnScan(np.zeros(frame.shape, np.uint8), frame)[:, :, :]
    assert found.shape == (5, 6, 7)
    assert not found.any()
    with pytest.raises(ValueError, match="expected probabilities of shape"):
        ProbabilityOnScan(np.zeros((1, 2, 3), np.uint8), frame)


def test_no_file_holds_more_than_1() -> None:
    assert 0.9999 < STEPS * float(np.float32(SLOPE)) <= 1
