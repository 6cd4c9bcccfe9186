"""A phantom under construction: the picture, the masks and the occupied space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from umlite.phantom.appearance import tissue_hu
from umlite.phantom.noise import Array, stream
from umlite.phantom.paths import lay_paths
from umlite.phantom.scan_grid import FAR_MM, Box, Field, ScanGrid
from umlite.phantom.shapes import spline
from umlite.phantom.spec import PhantomSpec

MODELLED: tuple[str, ...] = (
    "spleen",
    "right_kidney",
    "left_kidney",
    "gallbladder",
    "esophagus",
    "liver",
    "stomach",
    "aorta",
    "postcava",
    "portal_vein_and_splenic_vein",
    "pancreas",
    "right_adrenal_gland",
    "left_adrenal_gland",
    "duodenum",
    "hepatic_vessel",
    "right_lung",
    "left_lung",
    "colon",
    "intestine",
    "rectum",
    "bladder",
    "prostate",
    "left_head_of_femur",
    "right_head_of_femur",
    "celiac_trunk",
    "kidney_tumor",
    "liver_tumor",
    "pancreas_tumor",
    "lung_tumor",
    "colon_tumor",
    "kidney_cyst",
)
"""Canonical names of the classes that a phantom can show: all published ones but hepatic_vessel_tumor."""


@dataclass(frozen=True)
class Lesion:
    """One lesion that was placed, with its centre in RAS world coordinates and the number of voxels of its mask."""

    kind: str
    host: str
    centre_mm: tuple[float, float, float]
    diameter_mm: float
    style: str
    voxels: int


class Scene:
    """A phantom under construction.

    `hu` is float32 [X, Y, Z]; `masks` are bool [X, Y, Z] by canonical name. `taken` is the distance to the nearest
    structure that no later organ may enter. `frame` (the outside of ribs and muscles), `skin`, `cavity` (abdomen and
    pelvis) and `diaphragm` are distances on the whole grid, which torso.py fills. `fields` are the organs placed so
    far; `paths` and `curves` are knots and axes [K, 4] of the tubes; `lesions` are those placed so far, and
    `lesion_balls` their centres in scanner coordinates and radii.
    """

    frame: Array
    skin: Array
    cavity: Array
    diaphragm: Array

    def __init__(self, spec: PhantomSpec, grid: ScanGrid) -> None:
        self.spec = spec
        self.grid = grid
        self.tissue = tissue_hu(spec)
        self.hu = np.full(grid.shape, self.tissue["air"], np.float32)
        self.taken = np.full(grid.shape, FAR_MM, np.float32)
        self.masks = {name: np.zeros(grid.shape, bool) for name in MODELLED}
        self.fields: dict[str, Field] = {}
        self.paths = lay_paths(spec)
        self.curves = {name: spline(path, 12) for name, path in self.paths.items()}
        self.lesions: list[Lesion] = []
        self.lesion_balls: list[tuple[NDArray[np.float64], float]] = []
        self._edge_per_mm = np.float32(1 / np.mean(grid.spacing_mm))

    def rng(self, name: str) -> np.random.Generator:
        return stream(self.spec.seed, name)

    def noise(self, name: str, box: Box, step_mm: float) -> Array:
        """Smooth noise with a standard deviation near 1, different for each name."""
        return self.grid.noise(self.rng(f"noise {name}"), box, step_mm)

    def roughen(self, name: str, field: Field, step_mm: float, amplitude_mm: float) -> None:
        """Displace a surface by smooth noise."""
        if field.size:
            field.distance += np.float32(amplitude_mm) * self.noise(name, field.box, step_mm)

    def paint(self, field: Field, hu: float | Array) -> None:
        """Paint a field with HU. Voxels that its surface crosses are mixed in proportion."""
        part = np.clip(np.float32(0.5) - field.distance * self._edge_per_mm, 0, 1)
        view = self.hu[field.box]
        view += part * (hu - view)

    def take(self, field: Field) -> None:
        """Keep later organs out of a field."""
        view = self.taken[field.box]
        np.minimum(view, field.distance, out=view)

    def place(self, name: str, field: Field, gap_mm: float = 0.8, inside_mm: float | None = 2.0) -> Field:
        """Cut an organ back to free space (and, unless None, to the cavity less `inside_mm`) and mark its mask."""
        if field.size:
            np.maximum(field.distance, gap_mm - self.taken[field.box], out=field.distance)
            if inside_mm is not None:
                np.maximum(field.distance, self.cavity[field.box] + np.float32(inside_mm), out=field.distance)
            self.take(field)
        self.mark(name, field)
        self.fields[name] = field
        return field

    def mark(self, name: str, field: Field) -> None:
        """Add a field to a mask, cut to the body."""
        self.masks[name][field.box] |= (field.distance < 0) & (self.skin[field.box] < 0)


def bone_hu(scene: Scene, field: Field, cortex_mm: float = 2.0) -> Array:
    """HU of a bone with a dense rim and a spongy inside."""
    marrow = scene.tissue["marrow"] + np.float32(28) * scene.noise("marrow", field.box, 3.5)
    rim = np.clip(1 + field.distance / np.float32(cortex_mm), 0, 1)
    return marrow + rim * (np.float32(scene.tissue["cortical_bone"]) - marrow)
