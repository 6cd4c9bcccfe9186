"""Pictures: slices in the right place, the right way up, with the outlines on them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, ornt_transform
from PIL import Image

from umlite.classes import ClassTable
from umlite.inference.bitmask import BitMask
from umlite.results.picture import save_picture

TABLE = ClassTable(["liver", "liver_tumor", "spleen"])


def draw(path: Path, axes: str = "RAS", masks: bool = True) -> np.ndarray:
    """A body with a bright block at its right front top, outlined as the liver."""
    hu = np.full((40, 30, 20), -1000, np.float32)
    hu[5:35, 5:25, :] = 0
    liver = np.zeros(hu.shape, np.uint8)
    if masks:
        liver[22:34, 12:24, 8:18] = 1
    affine = np.diag([2.0, 2, 4, 1])
    transform = ornt_transform(nib.io_orientation(affine), axcodes2ornt(tuple(axes)))
    image, label = (nib.Nifti1Image(a, affine).as_reoriented(transform) for a in (hu, liver))
    bits = BitMask.from_masks({name: np.asarray(label.dataobj) > 0 for name in ("liver",)})
    save_picture(path, np.asarray(image.dataobj), image.affine, bits, [TABLE[0]], "a caption")
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


def test_nothing_segmented_is_a_picture_too(tmp_path: Path) -> None:
    pixels = draw(tmp_path / "p.png", masks=False)
    assert not (pixels == TABLE[0].color).all(axis=2).any()
