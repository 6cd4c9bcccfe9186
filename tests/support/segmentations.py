"""Segmentations with given masks, as if a network had answered them."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from support.samples import small_card, small_model
from umlite.class_table import ClassTable
from umlite.classes import PUBLISHED
from umlite.masks.bitmask import BitMask
from umlite.masks.on_scan import ResampledMasks
from umlite.results.segmentation import Segmentation
from umlite.sweep.runner import WindowCounts
from umlite.volume.geometry import Grid
from umlite.volume.preparation import Frame
from umlite.volume.reading import Scan, read_scan


def segmentation_of(masks: dict[str, np.ndarray], hu: np.ndarray, affine: np.ndarray) -> Segmentation:
    """A segmentation with these masks on a scan's grid; classes in the order of `masks`."""
    return segmentation_on(read_scan(nib.Nifti1Image(hu, affine), force_geometry=True), masks)


def segmentation_on(scan: Scan, masks: dict[str, np.ndarray]) -> Segmentation:
    """The same of a scan that was read."""
    grid = Grid(scan.shape, scan.affine)
    frame = Frame((0, 1, 2), grid, grid, (0, 0, 0), scan.shape)
    classes = ClassTable(c.name for c in PUBLISHED).resolve(list(masks))
    bits = ResampledMasks(BitMask.from_masks(masks), frame)
    return Segmentation(scan, classes, bits, WindowCounts(1, 0, 1), {}, (), (), small_card(small_model()))


def oblique_affine(rng: np.random.Generator, *, sheared: bool = False) -> np.ndarray:
    """A random rotation with random spacings, flipped in half of the cases."""
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    axes = rotation @ np.diag(rng.uniform(0.5, 3, 3))
    if sheared:
        axes = axes @ np.array([[1, 0, 0.1], [0, 1, 0.3], [0, 0, 1]])
    return nib.affines.from_matvec(axes, rng.uniform(-200, 200, 3))


def blobs(rng: np.random.Generator, shape: tuple[int, ...], share: float = 0.3) -> np.ndarray:
    """A smooth random mask [X, Y, Z] that fills some share of the voxels."""
    noise = rng.normal(size=shape)
    for axis in range(3):
        for _ in range(2):
            noise = noise + np.roll(noise, 1, axis) + np.roll(noise, -1, axis)
    return noise > np.quantile(noise, 1 - share)
