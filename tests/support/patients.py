"""One phantom patient scanned twice: moved between the scans, on another grid, with lesions where a test wants them."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np

from umlite.phantom import make_phantom

ORGANS = ("liver", "spleen", "right_kidney", "left_kidney", "pancreas", "aorta", "gallbladder")
SEED = 10
Ball = tuple[str, tuple[float, float, float], float]
"""Class, centre in mm from the liver's centroid, radius in mm."""


@functools.cache
def organs() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Masks of a phantom's organs in a box around them, and their affine, at 5 mm."""
    phantom = make_phantom(SEED, (5, 5, 5))
    whole = np.logical_or.reduce([phantom.masks[name] for name in ORGANS])
    ends = [np.flatnonzero(whole.any(axis=tuple(a for a in range(3) if a != axis)))[[0, -1]] for axis in range(3)]
    box = tuple(slice(max(low - 2, 0), high + 3) for low, high in ends)
    affine = phantom.affine @ nib.affines.from_matvec(np.eye(3), [s.start for s in box])
    return {name: phantom.masks[name][box] for name in ORGANS}, affine


def centroid_mm(name: str) -> np.ndarray:
    """Of an organ of the phantom."""
    masks, affine = organs()
    return affine[:3, :3] @ np.argwhere(masks[name]).mean(axis=0) + affine[:3, 3]


@dataclass(frozen=True, eq=False)
class Visit:
    """How the patient is scanned.

    Args:
        balls: lesions. Those of one class that touch are one lesion.
        angles_deg: rotation about x, y, z.
        shift_mm: added after the rotation.
        spacing_mm: of the grid.
        breath_mm: how much lower the liver and its lesions lie than the rest.
        z_mm: lower and upper end of the scan before it moves; None for all of the phantom.
    """

    balls: tuple[Ball, ...] = ()
    angles_deg: tuple[float, float, float] = (0, 0, 0)
    shift_mm: tuple[float, float, float] = (0, 0, 0)
    spacing_mm: tuple[float, float, float] = (5, 5, 5)
    breath_mm: float = 0
    z_mm: tuple[float, float] | None = None
    without: tuple[str, ...] = ()

    @property
    def movement(self) -> np.ndarray:
        """Where places of the phantom lie in the scan, [4, 4]."""
        x, y, z = np.radians(self.angles_deg)
        about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
        about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
        about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
        middle = centroid_mm("liver")
        rotation = about_z @ about_y @ about_x
        return nib.affines.from_matvec(rotation, middle - rotation @ middle + self.shift_mm)

    def masks(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Masks of organs and lesions, and their affine."""
        known, affine = organs()
        shape = np.array(next(iter(known.values())).shape)
        corners = nib.affines.apply_affine(self.movement @ affine, np.argwhere(np.ones((2, 2, 2))) * (shape - 1))
        low, high = corners.min(axis=0), corners.max(axis=0)
        if self.z_mm:
            low[2], high[2] = np.add(self.z_mm, self.shift_mm[2])
        size = np.ceil((high - low) / self.spacing_mm).astype(int)
        grid_affine = nib.affines.from_matvec(np.diag(np.array(self.spacing_mm, float)), low)
        index = np.moveaxis(np.indices(size), 0, -1)
        places = nib.affines.apply_affine(np.linalg.inv(self.movement) @ grid_affine, index)
        lower = np.add(places, [0, 0, self.breath_mm])
        found = {}
        for name, mask in known.items():
            if name not in self.without:
                at = np.round(nib.affines.apply_affine(np.linalg.inv(affine), lower if name == "liver" else places))
                inside = ((at >= 0) & (at < shape)).all(axis=-1)
                at = np.where(inside[..., None], at, 0).astype(int)
                found[name] = mask[tuple(np.moveaxis(at, -1, 0))] & inside
        for name in dict.fromkeys(("liver_tumor", *(name for name, _, _ in self.balls))):
            found[name] = np.zeros(tuple(size), bool)
        for name, centre, radius in self.balls:
            found[name] |= np.linalg.norm(lower - centroid_mm("liver") - centre, axis=-1) <= radius
        return found, grid_affine

    def save(self, folder: Path) -> Path:
        """Write one file per class."""
        masks, affine = self.masks()
        folder.mkdir(parents=True)
        for name, mask in masks.items():
            nib.save(nib.Nifti1Image(mask.astype(np.uint8), affine), folder / f"{name}.nii.gz")
        return folder

    def with_balls(self, *balls: Ball) -> Visit:
        """The same scan with these lesions."""
        return replace(self, balls=balls)
