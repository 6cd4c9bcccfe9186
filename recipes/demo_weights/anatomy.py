"""Training images from the anatomy of one real scan: deformed, and with the contrast of other scans."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from recipes.demo_weights.contrast import BACKGROUND, change_contrast
from recipes.demo_weights.deformation import random_grid, sample, smooth_noise
from recipes.demo_weights.lesions import paint_lesions
from umlite.class_table import ClassTable
from umlite.errors import InputError, RequestError
from umlite.training.image import Bits, TrainingImage, class_bits, make_image, mirror

_MAY_HIDE: dict[str, tuple[str, ...]] = {
    "esophagus": (BACKGROUND, "stomach"),
    "hepatic_vessel": ("liver",),
    "rectum": (BACKGROUND, "colon"),
    "prostate": (BACKGROUND, "urinary_bladder"),
    "left_head_of_femur": (BACKGROUND, "femur_left", "femur_right", "hip_left", "hip_right"),
    "right_head_of_femur": (BACKGROUND, "femur_left", "femur_right", "hip_left", "hip_right"),
    "celiac_trunk": (BACKGROUND, "aorta", "portal_vein_and_splenic_vein", "pancreas"),
    "kidney_tumor": ("kidney_left", "kidney_right"),
    "kidney_cyst": ("kidney_left", "kidney_right"),
    "liver_tumor": ("liver",),
    "hepatic_vessel_tumor": ("liver",),
    "pancreas_tumor": ("pancreas",),
    "lung_tumor": tuple(
        f"lung_{lobe}_lobe_{side}" for lobe in ("lower", "middle", "upper") for side in ("left", "right")
    ),
    "colon_tumor": ("colon",),
}
"""Classes that the scan has no label for, and the structures that may hold them: they are unknown there."""

_MILD_SHARE, _REAL_HU_SHARE, _MIRRORED_SHARE = 0.35, 0.55, 0.15


@dataclass(frozen=True)
class AnatomySource:
    """Images made from a scan and its structures, both RAS on one grid.

    Args:
        folder: holds example_ct.nii.gz, example_structures.nii.gz and example_structures.json.
        classes: of the network, in order.
        spacing_mm: of the images.
    """

    folder: Path
    classes: tuple[str, ...]
    spacing_mm: float

    def make(self, seed: int) -> TrainingImage:
        """The image of a seed. Raises InputError when the files are missing or do not fit each other."""
        rng = np.random.default_rng([seed, 1])
        return synthesise(_load(self.folder, self.classes), self.spacing_mm, rng)


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A real scan with its structures.

    Args:
        hu: float32 [X, Y, Z].
        structures: uint8 [X, Y, Z], a number per voxel; 0 is background.
        names: of the structures, by number.
        present, known: bits of the classes by structure number, as in `TrainingImage`.
        classes: of the network, in order.
        spacing_mm: of the scan.
    """

    hu: NDArray[np.float32]
    structures: NDArray[np.uint8]
    names: dict[int, str]
    present: Bits
    known: Bits
    classes: tuple[str, ...]
    spacing_mm: float


def build_anatomy(
    hu: NDArray[np.float32],
    structures: NDArray[np.uint8],
    names: dict[int, str],
    classes: Sequence[str],
    spacing_mm: float,
) -> Anatomy:
    """An Anatomy with the classes that each structure shows (`present`) and decides (`known`)."""
    names = {0: BACKGROUND, **names}
    table = ClassTable(classes)
    present = np.zeros(max(names) + 1, np.uint32)
    known = np.full(max(names) + 1, class_bits(classes, classes), np.uint32)
    for number, name in names.items():
        present[number] = class_bits([class_of_structure(name, table)], classes)
        known[number] &= ~class_bits([c for c, places in _MAY_HIDE.items() if name in places], classes)
    return Anatomy(hu, structures, names, present, known, tuple(classes), spacing_mm)


def class_of_structure(name: str, table: ClassTable) -> str:
    """The class that a structure is part of, or an empty name."""
    if name.startswith("lung_"):
        return f"{name.rsplit('_', 1)[1]}_lung"
    if name.startswith("femur_"):
        return ""  # a femur is more than its head
    try:
        return table.resolve([name])[0].name
    except RequestError:
        return ""


def synthesise(anatomy: Anatomy, spacing_mm: float, rng: np.random.Generator) -> TrainingImage:
    """One random image: deformed, with real or random contrast, with lesions painted in.

    The scan's own organs are assumed to be free of lesions, so that false ones cost something.
    """
    shape: tuple[int, int, int] = anatomy.hu.shape
    strength = 0.3 if rng.random() < _MILD_SHARE else 1.0
    grid = random_grid(shape, anatomy.spacing_mm, spacing_mm, rng, strength)
    hu = sample(anatomy.hu, grid, "bilinear").numpy()
    structures = sample(anatomy.structures, grid, "nearest").numpy().astype(np.uint8)
    present, known = anatomy.present[structures], anatomy.known[structures]
    if rng.random() >= _REAL_HU_SHARE:
        hu = change_contrast(hu, structures, anatomy.names, rng)
    hu, present, known = paint_lesions(hu, present, known, anatomy.classes, spacing_mm, rng)
    hu = hu + np.float32(rng.uniform(0, 8)) * smooth_noise(hu.shape, round(36 / spacing_mm), rng).numpy()
    inside = ((grid[..., 2] >= -0.5) & (grid[..., 2] <= shape[2] - 0.5)).numpy()
    known = np.where(inside, known, np.uint32(0))
    slices = np.flatnonzero(inside.mean(axis=(0, 1)) > 0.6)
    part = slice(slices[0], slices[-1] + 1) if len(slices) else slice(None)
    image = make_image(hu[..., part], present[..., part], known[..., part], len(anatomy.classes))
    return mirror(image, anatomy.classes) if rng.random() < _MIRRORED_SHARE else image


def read_structures(folder: Path) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """The structures of the real scan, uint8 [X, Y, Z], and their names. Raises InputError when they are missing."""
    try:
        labels = np.asarray(nib.load(folder / "example_structures.nii.gz").dataobj)  # type: ignore[attr-defined]
        table = json.loads((folder / "example_structures.json").read_text())
    except (OSError, ValueError, nib.filebasedimages.ImageFileError) as error:
        raise _missing(folder, error) from error
    return labels.astype(np.uint8), {int(number): str(entry["name"]) for number, entry in table.items()}


@functools.lru_cache(maxsize=2)
def _load(folder: Path, classes: tuple[str, ...]) -> Anatomy:
    structures, names = read_structures(folder)
    try:
        scan = nib.load(folder / "example_ct.nii.gz")
        hu = np.asarray(scan.dataobj, np.float32)  # type: ignore[attr-defined]
    except (OSError, ValueError, nib.filebasedimages.ImageFileError) as error:
        raise _missing(folder, error) from error
    if hu.shape != structures.shape or nib.aff2axcodes(scan.affine) != ("R", "A", "S"):  # type: ignore[attr-defined]
        raise InputError(f"Expected a scan and its structures on one RAS grid, found {hu.shape}, {structures.shape}.")
    return build_anatomy(hu, structures, names, classes, float(scan.header.get_zooms()[0]))  # type: ignore[attr-defined]


def _missing(folder: Path, error: Exception) -> InputError:
    return InputError(f"Expected example_ct and example_structures in {folder}: {error}")
