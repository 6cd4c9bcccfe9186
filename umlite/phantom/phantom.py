"""A whole phantom: draws the anatomy in order of precedence and scans it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import nibabel as nib
import numpy as np

from umlite.errors import RequestError
from umlite.phantom.bowel import draw_colon, draw_small_bowel, draw_stomach_and_duodenum
from umlite.phantom.limbs import draw_limb_bones
from umlite.phantom.muscles import draw_muscles
from umlite.phantom.noise import Array
from umlite.phantom.organs import draw_retroperitoneum, draw_upper_abdomen
from umlite.phantom.pelvic_bones import draw_pelvic_bones
from umlite.phantom.pelvic_organs import draw_pelvic_organs
from umlite.phantom.scan_grid import ScanGrid
from umlite.phantom.scanner import scan
from umlite.phantom.scene import Lesion, Scene
from umlite.phantom.skeleton import draw_trunk_skeleton
from umlite.phantom.spec import PhantomSpec, draw_spec
from umlite.phantom.surroundings import draw_mesentery, draw_metal, draw_table
from umlite.phantom.thorax import draw_thorax
from umlite.phantom.torso import draw_torso
from umlite.phantom.vessels import draw_vessels

_SPACING_MM = (0.5, 12.0)


@dataclass(frozen=True, eq=False)
class Phantom:
    """A synthetic CT with its exact masks.

    Args:
        hu: float32 [X, Y, Z], whole HU in [-1024, 3071], axes RAS.
        affine: float64 [4, 4], from voxel index to RAS mm.
        masks: bool [X, Y, Z] for each name of MODELLED, empty if the structure is missing or out of view.
        spec: the parameters.
        lesions: lesions that were placed, which may be fewer than the spec asks for.
    """

    hu: Array
    affine: np.ndarray
    masks: dict[str, np.ndarray] = field(repr=False)
    spec: PhantomSpec
    lesions: tuple[Lesion, ...]

    @property
    def present(self) -> tuple[str, ...]:
        """Classes with at least one voxel."""
        return tuple(name for name, mask in self.masks.items() if mask.any())

    @property
    def missing(self) -> tuple[str, ...]:
        """Organs that this patient lacks, whatever is in view."""
        return self.spec.missing

    def image(self) -> nib.Nifti1Image:
        """The CT as a NIfTI image, int16 HU."""
        image = nib.Nifti1Image(self.hu.astype(np.int16), self.affine)
        image.header.set_xyzt_units("mm")
        return image

    def volume_ml(self, name: str) -> float:
        return float(self.masks[name].sum() * abs(np.linalg.det(self.affine[:3, :3])) / 1000)


def make_phantom(seed: int, spacing_mm: Sequence[float] = (3, 3, 3)) -> Phantom:
    """Draw and render the phantom of a seed.

    Args:
        seed: any whole number; the same seed gives the same phantom.
        spacing_mm: size of the voxels along x, y and z.

    Raises:
        RequestError: a spacing that is not three positive lengths.
    """
    return render_phantom(draw_spec(seed), spacing_mm)


def render_phantom(spec: PhantomSpec, spacing_mm: Sequence[float] = (3, 3, 3)) -> Phantom:
    """Render a phantom from its parameters. The anatomy does not depend on the spacing, but the noise does."""
    spacing = np.asarray(spacing_mm, np.float64)
    low, high = _SPACING_MM
    if spacing.shape != (3,) or not ((spacing >= low) & (spacing <= high)).all():
        raise RequestError(f"Expected a spacing of three numbers from {low} to {high} mm, found {spacing_mm!r}.")
    scene = Scene(spec, ScanGrid(spec, spacing))
    draw_torso(scene)
    draw_limb_bones(scene)
    draw_muscles(scene)
    draw_trunk_skeleton(scene)
    draw_pelvic_bones(scene)
    draw_vessels(scene)
    draw_thorax(scene)
    draw_retroperitoneum(scene)
    draw_upper_abdomen(scene)
    draw_stomach_and_duodenum(scene)
    draw_pelvic_organs(scene)
    draw_colon(scene)
    draw_small_bowel(scene)
    draw_mesentery(scene)
    metal_at = draw_metal(scene)
    draw_table(scene)
    return Phantom(scan(scene, metal_at), scene.grid.affine, scene.masks, spec, tuple(scene.lesions))
