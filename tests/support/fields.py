"""Smooth logits, results whose probabilities they are, and what their surfaces must be."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import torch
from scipy import ndimage

from support.samples import small_card, small_model
from umlite.class_table import ClassTable
from umlite.classes import PUBLISHED
from umlite.masks.bitmask import BitMask
from umlite.masks.on_scan import ResampledMasks
from umlite.masks.postprocessing import needed_classes, postprocess
from umlite.products.mesh.surface import Mesh
from umlite.results.probabilities import Probabilities
from umlite.results.segmentation import Segmentation
from umlite.sweep.probability_file import ProbabilityFile
from umlite.sweep.runner import WindowCounts
from umlite.sweep.slab import Part
from umlite.volume.geometry import Grid
from umlite.volume.preparation import Frame
from umlite.volume.reading import read_scan


def balls(shape: tuple[int, int, int], *centres_and_radii: tuple[float, float, float, float]) -> np.ndarray:
    """Logits of some balls, float32 [X, Y, Z]: the distance to the nearest one's surface in voxels, inside positive."""
    places = np.indices(shape, dtype=np.float64)
    depths = [r - np.sqrt(((places - np.reshape(c, (3, 1, 1, 1))) ** 2).sum(0)) for *c, r in centres_and_radii]
    return np.maximum.reduce(depths).astype(np.float32)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float = 1.5) -> np.ndarray:
    """Random logits, float32, of standard deviation 3."""
    noise = ndimage.gaussian_filter(rng.normal(size=shape), sigma)
    return (3 * noise / noise.std()).astype(np.float32)


def volume_above_zero(field: np.ndarray, parts: int = 8) -> float:
    """Where trilinear interpolation is positive, in voxels: counted at `parts` places per step and axis."""
    steps = [np.arange((n - 1) * parts) / parts + 0.5 / parts for n in field.shape]
    count = 0
    for x in steps[0]:
        places = np.stack(np.meshgrid([x], steps[1], steps[2], indexing="ij"))
        count += int(np.count_nonzero(ndimage.map_coordinates(field, places, order=1) > 0))
    return count / parts**3


def result_of_logits(
    logits: dict[str, np.ndarray], affine: np.ndarray, requested: list[str] | None = None
) -> Segmentation:
    """A result as if a network had answered these logits on the scan's grid, post-processed by the published rules."""
    requested = requested or list(logits)
    assert set(needed_classes(requested, tuple(logits))) <= set(logits)
    shape = next(iter(logits.values())).shape
    scan = read_scan(nib.Nifti1Image(np.zeros(shape, np.int16), affine), force_geometry=True)
    grid = Grid(scan.shape, scan.affine)
    frame = Frame((0, 1, 2), grid, grid, (0, 0, 0), scan.shape)
    file = ProbabilityFile(None, tuple(logits))
    file.begin(shape, 0)
    sums = torch.from_numpy(np.stack(list(logits.values())))
    file.write((slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])), Part((0, 0, 0), sums, sums[0] * 0 + 1))
    predicted = BitMask.from_masks({name: values > 0 for name, values in logits.items()})
    bits, notes = postprocess(predicted, requested)
    classes = ClassTable(c.name for c in PUBLISHED).resolve(requested)
    masks, card = ResampledMasks(bits, frame), small_card(small_model())
    return Segmentation(scan, classes, masks, WindowCounts(1, 0, 1), {}, (), notes, card, 0, Probabilities(file, frame))


def assert_closed(mesh: Mesh) -> None:
    """Every edge belongs to two triangles, which run along it in opposite directions; every point to a triangle."""
    edges = np.concatenate([mesh.triangles[:, [i, (i + 1) % 3]] for i in range(3)])
    count = len(mesh.points)
    along, against = edges[:, 0] * count + edges[:, 1], edges[:, 1] * count + edges[:, 0]
    assert len(np.unique(along)) == len(along)
    np.testing.assert_array_equal(np.sort(along), np.sort(against))
    np.testing.assert_array_equal(np.unique(mesh.triangles), np.arange(count))
