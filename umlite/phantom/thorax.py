"""Lungs, heart, airways and esophagus."""

from __future__ import annotations

import numpy as np

from umlite.phantom.lesions import grow_lesions
from umlite.phantom.scan_grid import Field, tube
from umlite.phantom.scene import Scene
from umlite.phantom.shapes import ellipsoid, profile, rotate, rotation, smooth_min
from umlite.phantom.torso import beside_spine, chest_wall_mm
from umlite.phantom.vessels import draw_lung_vessels

_HEART = (-28.0, 44.0, 122.0)
_HEART_DEG = (35.0, -38.0, -20.0)
_HEART_RADII = (50.0, 44.0, 62.0)
# Chambers: centre and radii in mm from the heart's centre, in body axes, and the blood in them.
_CHAMBERS = (
    ((-22, -6, -8), (20, 19, 25), "heart_blood"),
    ((4, 24, -12), (32, 16, 24), "lung_artery"),
    ((42, -6, 8), (20, 24, 26), "upper_cava"),
    ((14, -32, 24), (28, 17, 19), "heart_blood"),
)
_MEDIASTINUM = ((60, 38), (100, 32), (140, 32), (180, 37), (230, 30), (270, 29), (320, 38))
"""Half width of what lies between the lungs, at its widest."""
_MEDIASTINUM_LEFT = 6.0
_APEX_Z, _APEX_X, _APEX_Y = 308.0, 52.0, -22.0
_LUNG_GAP_MM = 1.6
_MEDIASTINAL_VESSELS = {
    "pulmonary_trunk": "lung_artery",
    "left_pulmonary_artery": "lung_artery",
    "superior_cava": "upper_cava",
    "left_brachiocephalic_vein": "upper_cava",
}


def draw_thorax(scene: Scene) -> None:
    """Paint and place the organs of the chest, lungs with their lesions; the esophagus reaches the stomach."""
    _heart(scene)
    for name, blood in _MEDIASTINAL_VESSELS.items():
        field = tube(scene.grid, [scene.curves[name]])
        if field.size:
            np.maximum(field.distance, -scene.taken[field.box], out=field.distance)
            scene.paint(field, scene.tissue[blood])
            scene.take(field)
    _airways(scene)
    _esophagus(scene)
    for name, side in (("right_lung", 1), ("left_lung", -1)):
        _lung(scene, name, side)
    grow_lesions(scene, "lung_tumor", ("right_lung", "left_lung"))


def _heart(scene: Scene) -> None:
    grid, tissue = scene.grid, scene.tissue
    centre = np.array(_HEART) - (0, 0, 0.6 * scene.spec.breath_mm)
    field = Field(grid, grid.box(centre - 75, centre + 75))
    if not field.size:
        return
    own = rotate(field.points, centre, rotation(_HEART_DEG).T)
    field.distance = ellipsoid(own, (0, 0, 0), _HEART_RADII)
    scene.roughen("heart", field, 16, 2.5)
    chambers = Field(grid, field.box)
    for shift, radii, _ in _CHAMBERS:
        chamber = ellipsoid(field.points, centre + shift, np.add(radii, 5))
        chambers.distance = np.minimum(chambers.distance, chamber)
    field.distance = smooth_min(field.distance, chambers.distance, 12)
    np.maximum(field.distance, -scene.taken[field.box], out=field.distance)
    np.maximum(field.distance, 4 - scene.diaphragm[field.box], out=field.distance)
    scene.paint(field, tissue["fat"] + 60)
    scene.take(field)
    muscle = Field(grid, field.box)
    muscle.distance = np.maximum(field.distance + 4, np.minimum(chambers.distance - 3, field.distance + 14))
    scene.paint(muscle, tissue["myocardium"])
    for shift, radii, blood in _CHAMBERS:
        muscle.distance = np.maximum(ellipsoid(field.points, centre + shift, radii), field.distance + 6)
        scene.paint(muscle, tissue[blood])


def _airways(scene: Scene) -> None:
    field = tube(scene.grid, [scene.curves[name] for name in ("trachea", "right_bronchus", "left_bronchus")])
    if field.size:
        np.maximum(field.distance, -scene.taken[field.box], out=field.distance)
        scene.paint(field, scene.tissue["cartilage"] - 40)
        scene.take(field)
        field.distance = field.distance + np.float32(1.8)
        scene.paint(field, scene.tissue["air"])


def _esophagus(scene: Scene) -> None:
    field = tube(scene.grid, [scene.curves["esophagus"]])
    if not field.size:
        return
    scene.roughen("esophagus", field, 7, 0.8)
    scene.place("esophagus", field, inside_mm=None)
    scene.paint(field, scene.tissue["esophagus"])
    lumen = Field(scene.grid, field.box)
    lumen.distance = field.distance + 5.5 + 2 * scene.noise("esophagus lumen", field.box, 12)
    scene.paint(lumen, scene.tissue["air"] * 0.8)


def _lung(scene: Scene, name: str, side: int) -> None:
    grid = scene.grid
    low, high = (-5, -120, -60), (165, 130, 320)
    if side < 0:
        low, high = (-165, low[1], low[2]), (5, high[1], high[2])
    field = Field(grid, grid.box(low, high))
    scene.fields[name] = field
    if not field.size:
        return
    x, y, z = field.points
    distance = scene.frame[field.box] + chest_wall_mm(field.points)
    np.maximum(distance, np.float32(_LUNG_GAP_MM) - scene.diaphragm[field.box], out=distance)
    centre = profile([(60, 30), (180, 20), (300, -5)], z)
    middle = 1 - np.sqrt(
        np.square((x + _MEDIASTINUM_LEFT) / profile(_MEDIASTINUM, z)) + np.square((y - centre) / np.float32(92))
    )
    np.maximum(distance, middle * profile(_MEDIASTINUM, z), out=distance)
    np.maximum(distance, beside_spine(field.points), out=distance)
    top = _APEX_Z - np.float32(0.014) * (np.square(np.abs(x) - _APEX_X) + np.square(y - _APEX_Y))
    np.maximum(distance, (z - top) * np.float32(0.7), out=distance)
    np.maximum(distance, np.float32(3) - side * x, out=distance)
    np.maximum(distance, np.float32(1.5) - scene.taken[field.box], out=distance)
    field.distance = distance
    scene.place(name, field, inside_mm=None)
    texture = scene.tissue["lung"] - np.float32(0.28) * (y + 20) + 22 * scene.noise(name, field.box, 7)
    scene.paint(field, texture)
    draw_lung_vessels(scene, field, side)
