"""Arteries, veins, and the trees inside the liver and the lungs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from umlite.phantom.noise import Array
from umlite.phantom.scan_grid import Field, tube
from umlite.phantom.scene import Scene
from umlite.phantom.shapes import spline
from umlite.phantom.trees import grow_tree

ARTERIES = ("iliac_artery", "femoral_artery", "renal_artery")
SINGLE_ARTERIES = ("hepatic_artery", "splenic_artery", "mesenteric_artery")
VEINS = ("iliac_vein", "femoral_vein")

# Stems (x, y, z, radius) of the trees in the liver; each is grown on.
HEPATIC_VEINS = (
    ((27, 14, 84, 5), (56, 4, 72, 4.6), (84, -4, 50, 4)),
    ((26, 18, 84, 4.6), (42, 38, 68, 4.2), (58, 58, 42, 3.6)),
    ((24, 18, 86, 4.6), (6, 42, 78, 4.2), (-12, 60, 68, 3.4)),
)
PORTAL_BRANCHES = (
    ((46, 40, 40, 5.5), (66, 36, 44, 5), (84, 44, 48, 4)),
    ((62, 36, 43, 4.4), (80, 16, 36, 4), (98, 0, 22, 3.4)),
    ((44, 41, 40, 5), (22, 56, 54, 4.4), (2, 68, 60, 3.6)),
)
_LUNG_HILA = ((44, 2, 180), (46, 0, 165), (42, 4, 172))
_LUNG_HEADINGS = (
    ((24, 30, 40), (40, 10, 10), (26, -26, 30), (20, -22, -45), (30, 18, -40), (10, 0, 55)),
    ((22, 34, 24), (36, -20, -12), (16, 26, -50)),
)


def draw_vessels(scene: Scene) -> None:
    """Paint and place the large vessels of the trunk."""
    tissue = scene.tissue
    _vessel(scene, ["aorta"], tissue["aorta"], "aorta")
    if scene.spec.seed % 3 == 0:
        _calcify(scene, scene.fields["aorta"])
    _vessel(scene, ["postcava"], _mixed_cava(scene), "postcava")
    _vessel(scene, ["portal_vein", "splenic_vein"], tissue["portal_vein"], "portal_vein_and_splenic_vein", gap_mm=0.0)
    _vessel(scene, ["celiac_trunk"], tissue["aorta"], "celiac_trunk", gap_mm=-0.5)
    for name in ARTERIES:
        _vessel(scene, [f"right_{name}", f"left_{name}"], tissue["aorta"])
    _vessel(scene, SINGLE_ARTERIES, tissue["aorta"])
    for name in VEINS:
        _vessel(scene, [f"right_{name}", f"left_{name}"], tissue["iliac_vein"])
    _vessel(scene, ["right_renal_vein", "left_renal_vein"], (tissue["renal_medulla"] + tissue["renal_cortex"]) / 2)
    _vessel(scene, ["mesenteric_vein"], tissue["portal_vein"])


def draw_hepatic_vessels(scene: Scene, liver: Field) -> None:
    """Portal branches and hepatic veins inside the liver, one class."""
    field = Field(scene.grid, liver.box)
    if not field.size:
        return
    for name, stems in (("portal_vein", PORTAL_BRANCHES), ("hepatic_vein", HEPATIC_VEINS)):
        tree = Field(scene.grid, liver.box)
        for i, stem in enumerate(stems):
            rng = scene.rng(f"{name} {i}")
            knots = np.array(stem, float)
            knots[1:, :3] += rng.normal(0, 3, (2, 3))
            for curve in grow_tree(rng, knots, 3, 1.6):
                tree.add_tube(spline(curve, 11))
        np.maximum(tree.distance, liver.distance + 2, out=tree.distance)
        scene.paint(tree, scene.tissue[name])
        np.minimum(field.distance, tree.distance, out=field.distance)
    scene.mark("hepatic_vessel", field)
    scene.fields["hepatic_vessel"] = field


def draw_lung_vessels(scene: Scene, lung: Field, side: int) -> None:
    """Arteries and veins from the hilum outwards, which remain part of the lung."""
    field = Field(scene.grid, lung.box)
    rng = scene.rng(f"lung vessels {side}")
    for hilum, headings in zip(_LUNG_HILA, _LUNG_HEADINGS, strict=False):
        for heading in headings:
            start = np.array(hilum) * (side, 1, 1)
            reach = (np.array(heading) + rng.normal(0, 6, 3)) * (side, 1, 1)
            stem = np.array([[*start, 4.6], [*(start + reach / 2), 4.1], [*(start + reach), 3.4]])
            for curve in grow_tree(rng, stem, 4, 0.9):
                field.add_tube(curve)
    np.maximum(field.distance, lung.distance + 2, out=field.distance)
    scene.paint(field, scene.tissue["lung_vessel"])


def _vessel(
    scene: Scene,
    names: list[str] | tuple[str, ...],
    hu: float | Callable[[Field], Array],
    mask: str = "",
    gap_mm: float = 0.3,
) -> None:
    field = tube(scene.grid, [scene.curves[name] for name in names])
    if not field.size:
        if mask:
            scene.fields[mask] = field
        return
    if mask:
        scene.roughen(mask, field, 9, 0.5)
        scene.place(mask, field, gap_mm, inside_mm=None)
    else:
        np.maximum(field.distance, -scene.taken[field.box], out=field.distance)
        scene.take(field)
    scene.paint(field, hu(field) if callable(hu) else hu)


def _mixed_cava(scene: Scene) -> Callable[[Field], Array]:
    """Two densities of blood, from the legs below and from the kidneys above, mixed at the renal veins."""

    def hu(field: Field) -> Array:
        lower, upper = scene.tissue["lower_cava"], scene.tissue["upper_cava"]
        share = np.clip((field.points[2] + 25) / 50, 0, 1)
        return np.float32(lower) + np.float32(upper - lower) * share

    return hu


def _calcify(scene: Scene, aorta: Field) -> None:
    """Plaques in the aortic wall."""
    if not aorta.size:
        return
    plaque = Field(scene.grid, aorta.box)
    spots = 1.7 - scene.noise("plaque", aorta.box, 6)
    plaque.distance = np.maximum(np.abs(aorta.distance + 0.6) - 1.3, spots * 4)
    scene.paint(plaque, 520.0)
