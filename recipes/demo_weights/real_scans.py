"""Training images from the lessons of real scans: deformed, and partly with other contrast and painted lesions."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recipes.demo_weights.contrast import BACKGROUND, change_contrast
from recipes.demo_weights.deformation import random_grid, sample, smooth_noise
from recipes.demo_weights.lesions import paint_lesions
from umlite.errors import InputError
from umlite.evaluation.tolerances import is_lesion
from umlite.training.image import TrainingImage, class_bits, make_image, mirror

SHARES = {
    "cptac_pda_abdomen": 0.22,
    "totalseg_aorta": 0.2,
    "example_ct_dicom": 0.18,
    "slicerio_ctchest": 0.14,
    "lung1": 0.1,
    "elastix_lung": 0.08,
    "moose_neck": 0.04,
    "ibsi_sts": 0.04,
}
"""How often each scan is shown: the more organs it teaches, the more often."""
_CONTRAST_OF = {
    "right_kidney": "kidney_right",
    "left_kidney": "kidney_left",
    "postcava": "inferior_vena_cava",
    "intestine": "small_bowel",
    "right_lung": "lung_right",
    "left_lung": "lung_left",
    "right_adrenal_gland": "adrenal_gland_right",
    "left_adrenal_gland": "adrenal_gland_left",
}
"""The structure whose contrast a class gets, where it has another name."""
_MILD_SHARE, _REAL_HU_SHARE, _MIRRORED_SHARE, _PAINTED_SHARE = 0.35, 0.65, 0.15, 0.35
_FULL_HEIGHT_MM = 180.0


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is taught of one scan, at the spacing of the network.

    Args:
        hu: float16 [X, Y, Z].
        present, known: uint32 [X, Y, Z], as in `TrainingImage`.
    """

    hu: NDArray[np.float16]
    present: NDArray[np.uint32]
    known: NDArray[np.uint32]


@dataclass(frozen=True)
class RealScanSource:
    """Images made from real scans.

    Args:
        folder: holds the lessons, see `answers.write_lessons`.
        classes: of the network, in order.
        spacing_mm: of the images and of the lessons.
    """

    folder: Path
    classes: tuple[str, ...]
    spacing_mm: float

    def make(self, seed: int) -> TrainingImage:
        """The image of a seed. Raises InputError when a lesson is missing."""
        rng = np.random.default_rng([seed, 3])
        name = str(rng.choice(list(SHARES), p=list(SHARES.values())))
        return vary(_load(self.folder / f"{name}.npz"), self.classes, self.spacing_mm, rng)


def vary(lesson: Lesson, classes: tuple[str, ...], spacing_mm: float, rng: np.random.Generator) -> TrainingImage:
    """One random image of a lesson: deformed, mostly with its own contrast, some with lesions painted in.

    A short scan is deformed less, since a rotation would leave little of it.
    """
    shape: tuple[int, int, int] = lesson.hu.shape
    strength = 0.3 if rng.random() < _MILD_SHARE else min(1.0, shape[2] * spacing_mm / _FULL_HEIGHT_MM)
    grid = random_grid(shape, spacing_mm, spacing_mm, rng, strength)
    hu = sample(lesson.hu, grid, "bilinear").numpy()
    present, known = (_bits_at(bits, grid) for bits in (lesson.present, lesson.known))
    if rng.random() >= _REAL_HU_SHARE:
        names = {0: BACKGROUND} | {c + 1: _CONTRAST_OF.get(name, name) for c, name in enumerate(classes)}
        hu = change_contrast(hu, _organs(present, classes), names, rng)
    if rng.random() < _PAINTED_SHARE:
        hu, painted, _ = paint_lesions(hu, present, known, classes, spacing_mm, rng)
        known |= painted & ~present  # what was painted is known, what else the scan has is not
        present = painted
    hu = hu + np.float32(rng.uniform(0, 8)) * smooth_noise(hu.shape, round(36 / spacing_mm), rng).numpy()
    inside = ((grid[..., 2] >= -0.5) & (grid[..., 2] <= shape[2] - 0.5)).numpy()
    known = np.where(inside, known, np.uint32(0))
    slices = np.flatnonzero(inside.mean(axis=(0, 1)) > 0.6)
    part = slice(slices[0], slices[-1] + 1) if len(slices) else slice(None)
    image = make_image(hu[..., part], present[..., part], known[..., part], len(classes))
    return mirror(image, classes) if rng.random() < _MIRRORED_SHARE else image


def _bits_at(bits: NDArray[np.uint32], grid: Tensor) -> NDArray[np.uint32]:
    """Bits at the places of a grid; half of them at a time, since float32 counts to 2^24."""
    low, high = (sample(half, grid, "nearest").numpy().astype(np.uint32) for half in (bits & 0xFFFF, bits >> 16))
    return low | high << np.uint32(16)


def _organs(present: NDArray[np.uint32], classes: tuple[str, ...]) -> NDArray[np.uint8]:
    """One organ per voxel, by the number of its class plus one; 0 where there is none."""
    organs = np.zeros(present.shape, np.uint8)
    for c, name in enumerate(classes):
        if not is_lesion(name):
            organs[present & class_bits([name], classes) != 0] = c + 1
    return organs


@functools.lru_cache(maxsize=len(SHARES))
def _load(path: Path) -> Lesson:
    try:
        with np.load(path) as arrays:
            return Lesson(arrays["hu"], arrays["present"], arrays["known"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"Cannot read {path} as the lesson of a scan: write it with `lessons`.") from error
