"""Masks of a scan, a few planes at a time, are those of the whole grid."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from support.samples import make_scan
from umlite.class_table import ClassTable
from umlite.classes import PUBLISHED
from umlite.errors import RequestError
from umlite.masks import on_scan as masks
from umlite.masks.bitmask import BitMask
from umlite.masks.on_scan import ResampledMasks
from umlite.results.label_map import LabelMap, paint_label_map
from umlite.volume.preparation import Frame, prepare_volume, restore
from umlite.volume.reading import read_scan

NAMES = ("liver", "spleen", "liver_tumor")


def frame_of(axes: str, degrees: float) -> Frame:
    image = make_scan((17, 20, 12))
    angle = np.deg2rad(degrees)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    image = nib.Nifti1Image(np.asarray(image.dataobj), affine @ np.diag([3.1, 4.2, 5.7, 1]))
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(axes)))
    return prepare_volume(read_scan(image.as_reoriented(turn)), (2.5, 3.0, 4.0), (-175, 250)).frame


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SAR", "PIL"])
@pytest.mark.parametrize("degrees", [0.0, 17.0])
@pytest.mark.parametrize("slab", [1, 800, 1 << 20])
def test_slabs_are_the_whole(axes: str, degrees: float, slab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "_SLAB_VOXELS", slab)
    frame = frame_of(axes, degrees)
    bits = BitMask((np.random.default_rng(0).integers(0, 8, frame.shape).astype(np.uint32),), NAMES)
    whole = bits.mapped(lambda word: restore(word, frame))
    found = ResampledMasks(bits, frame)
    assert found.shape == whole.shape
    slabs = list(found.slabs())
    assert len(slabs) == -(-whole.shape[2] // max(1, slab // (whole.shape[0] * whole.shape[1])))
    assert all(part.names == NAMES for part in slabs)
    np.testing.assert_array_equal(np.concatenate([part.words[0] for part in slabs], 2), whole.words[0])
    assert found.counts() == whole.counts()
    assert min(found.counts().values()) > 100
    for name in NAMES:
        np.testing.assert_array_equal(found.mask(name), whole.mask(name))
    classes = ClassTable(c.name for c in PUBLISHED).resolve(list(NAMES))
    labels, painted = LabelMap(found, classes), paint_label_map(whole, classes)
    assert (labels.shape, labels.dtype) == (painted.shape, painted.dtype)
    np.testing.assert_array_equal(labels[:, :, :], painted)
    np.testing.assert_array_equal(labels[:, :, 2:5], painted[:, :, 2:5])


def test_what_is_not_there() -> None:
    frame = frame_of("RAS", 0.0)
    with pytest.raises(ValueError, match="expected masks of shape"):
        ResampledMasks(BitMask.zeros((1, 2, 3), NAMES), frame)
    with pytest.raises(RequestError, match="No mask of 'pancreas'"):
        ResampledMasks(BitMask.zeros(frame.shape, NAMES), frame).mask("pancreas")
