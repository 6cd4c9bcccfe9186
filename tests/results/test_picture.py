"""Pictures: slices in the right place, the right way up, with the outlines on them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, ornt_transform
from PIL import Image

from umlite.class_table import ClassTable
from umlite.masks import on_scan as masks
from umlite.masks.bitmask import BitMask
from umlite.masks.on_scan import MasksOnScan
from umlite.outputs.file_set import together
from umlite.results.picture import write_picture
from umlite.volume import voxels
from umlite.volume.preparation import prepare_volume
from umlite.volume.reading import read_scan

TABLE = ClassTable(["liver", "liver_tumor", "spleen"])


def draw(path: Path, axes: str = "RAS", liver: bool = True) -> np.ndarray:
    """A body with a bright block at its right front top, outlined as the liver."""
    hu = np.full((40, 30, 20), -1000, np.float32)
    hu[5:35, 5:25, :] = 0
    affine = np.diag([2.0, 2, 4, 1])
    transform = ornt_transform(nib.io_orientation(affine), axcodes2ornt(tuple(axes)))
    nib.save(nib.Nifti1Image(hu, affine).as_reoriented(transform), path.with_suffix(".nii"))
    scan = read_scan(path.with_suffix(".nii"))
    frame = prepare_volume(scan, (2.0, 2.0, 4.0), (-175.0, 250.0)).frame
    assert (frame.start, frame.stop) == ((5, 5, 0), (35, 25, 20))
    bits = BitMask.zeros(frame.shape, ["liver"])
    bits.bits[17:29, 7:19, 8:18] = liver
    with together(path.parent) as files:
        write_picture(files, path, scan, MasksOnScan(bits, frame), [TABLE[0]], "a caption")
    return np.array(Image.open(path))


def test_the_patients_right_is_on_the_left(tmp_path: Path) -> None:
    pixels = draw(tmp_path / "p.png")
    outline = np.argwhere((pixels == TABLE[0].color).all(axis=2))
    axial = outline[(outline[:, 1] < 490) & (outline[:, 0] < 380)]
    assert 60 < axial[:, 1].mean() < 240  # RAS: larger x is the patient's right, shown on the left
    assert axial[:, 0].mean() < 190  # the front is up


@pytest.mark.parametrize("axes", ["LPS", "PIR", "SAL"])
def test_orientation_does_not_change_the_picture(tmp_path: Path, axes: str) -> None:
    assert np.array_equal(draw(tmp_path / "a.png"), draw(tmp_path / "b.png", axes))


@pytest.mark.parametrize("axes", ["RAS", "PIR"])
def test_a_large_scan_is_read_again(tmp_path: Path, axes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = draw(tmp_path / "a.png")
    monkeypatch.setattr(voxels, "HELD_BYTES", 0)
    monkeypatch.setattr(voxels, "_SLAB_BYTES", 1)
    monkeypatch.setattr(masks, "_SLAB_VOXELS", 1)
    assert np.array_equal(draw(tmp_path / "b.png", axes), expected)


def test_nothing_segmented_is_a_picture_too(tmp_path: Path) -> None:
    pixels = draw(tmp_path / "p.png", liver=False)
    assert not (pixels == TABLE[0].color).all(axis=2).any()
