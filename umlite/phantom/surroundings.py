"""The surroundings of the organs: mesenteric vessels, metal, and the table."""

from __future__ import annotations

import numpy as np

from umlite.phantom.scan_grid import FAR_MM, Field, tube
from umlite.phantom.scene import Scene
from umlite.phantom.shapes import spline

_TWIGS, _TWIG_FAN_MM = 46, (120.0, 55.0, 105.0)
_METAL_HU = 3000.0
_TABLE_GAP_MM = 3.0


def draw_mesentery(scene: Scene) -> None:
    """Thin vessels fanning out from the root of the mesentery, wherever there is fat."""
    rng = scene.rng("mesentery")
    curves = []
    for _ in range(_TWIGS):
        end = np.array((0, 58, -70)) + np.multiply(rng.uniform(-1, 1, 3), _TWIG_FAN_MM)
        middle = 0.5 * np.add(end, (4, 60, -45)) + rng.normal(0, 8, 3)
        radius = rng.uniform(1.2, 2.4)
        curves.append(spline([(4, 60, -40, radius), (*middle, radius), (*end, 0.7 * radius)], 12))
    field = tube(scene.grid, curves)
    if field.size:
        np.maximum(field.distance, 0.4 - scene.taken[field.box], out=field.distance)
        np.maximum(field.distance, scene.cavity[field.box] + 3, out=field.distance)
        scene.paint(field, scene.tissue["portal_vein"] - 15)


def draw_metal(scene: Scene) -> tuple[float, float, float] | None:
    """A hip stem or spinal screws. Returns where artefacts start, in body coordinates, if the metal is in view."""
    if scene.spec.metal == "none":
        return None
    side = 1 if scene.rng("metal").random() < 0.5 else -1
    if scene.spec.metal == "hip":
        centre = (side * 92, 4, -228)
        curves = [((side * 88, 4, -226, 16), (side * 112, 0, -242, 8), (side * 124, 2, -290, 6))]
    else:
        centre = (0, -10, -70)
        curves = [((s * 9, 22, z, 3), (s * 22, -34, z, 3)) for z in (-52, -86) for s in (1, -1)]  # type: ignore[misc]
        curves += [((s * 22, -38, -45, 3), (s * 22, -38, -93, 3)) for s in (1, -1)]  # type: ignore[misc]
    field = tube(scene.grid, [np.array(k, float) for k in curves])
    if not field.size or not (field.distance < 0).any():
        return None
    scene.paint(field, _METAL_HU)
    return centre


def draw_table(scene: Scene) -> None:
    """A curved shell, a flat board or a mattress, in scanner coordinates, behind the skin."""
    spec, grid = scene.spec, scene.grid
    if spec.table == "none":
        return
    rng = scene.rng("table")
    x, y = grid.axes_mm[0][:, None, None], grid.axes_mm[1][None, :, None]
    touching = np.flatnonzero((scene.skin < 0).any(axis=(0, 2)))
    if not touching.size:
        return
    top = grid.axes_mm[1][touching[0]] - np.float32(_TABLE_GAP_MM)
    width = np.float32(rng.uniform(200, 235))
    curve = {"curved": rng.uniform(0.0009, 0.0016), "flat": 0.0, "cushioned": rng.uniform(0.0003, 0.0009)}[spec.table]
    below = top - y + np.float32(curve) * x * x
    field = Field(grid, tuple(slice(0, n) for n in grid.shape))  # type: ignore[arg-type]
    layers = [(0.0, 2.0, rng.uniform(-150, 50)), (2.0, 24.0, rng.uniform(-990, -930)), (24.0, 27.0, -60.0)]
    if spec.table == "cushioned":
        layers = [(0.0, 14.0, rng.uniform(-960, -880)), (14.0, 17.0, 80.0), (17.0, 36.0, -960.0), (36.0, 38.0, 40.0)]
    for start, stop, hu in layers:
        slab = np.maximum(np.maximum(start - below, below - stop), np.abs(x) - width)
        field.distance = np.maximum(slab, np.minimum(-scene.skin + 1, FAR_MM))
        scene.paint(field, hu)
