"""The trunk: skin, fat, muscle wall, cavity and diaphragm, from profiles along the body axis."""

from __future__ import annotations

import numpy as np

from umlite.phantom.limbs import limb_distance
from umlite.phantom.noise import Array
from umlite.phantom.scan_grid import Field
from umlite.phantom.scene import Scene
from umlite.phantom.shapes import Points, profile, smooth_max, smooth_min, squircle
from umlite.phantom.spec import PhantomSpec

# Knots (z, value) in mm of body coordinates.
SPINE_Y = (
    (-150, -18),
    (-130, 0),
    (-86, 12),
    (-52, 9),
    (-17, 0),
    (17, -10),
    (48, -20),
    (100, -37),
    (150, -45),
    (200, -48),
    (250, -42),
    (300, -25),
    (330, -10),
)
"""Centre of the vertebral bodies: lumbar lordosis and thoracic kyphosis."""
_FRAME_HALF_WIDTH = (
    (-290, 168),
    (-235, 168),
    (-190, 160),
    (-128, 146),
    (-70, 143),
    (-20, 145),
    (40, 150),
    (120, 150),
    (200, 146),
    (250, 136),
    (285, 110),
    (315, 78),
    (335, 62),
)
_FRAME_HALF_DEPTH = (
    (-290, 88),
    (-235, 93),
    (-190, 96),
    (-128, 98),
    (-70, 98),
    (-20, 98),
    (40, 101),
    (120, 104),
    (200, 98),
    (250, 84),
    (285, 70),
    (315, 58),
    (335, 55),
)
_FRAME_Y = (
    (-290, -5),
    (-235, -4),
    (-190, 0),
    (-128, 2),
    (-70, 3),
    (40, 5),
    (120, 0),
    (200, -8),
    (250, -14),
    (320, -14),
)
_BELLY_MM = ((-260, 0), (-180, 18), (-90, 34), (-20, 30), (50, 16), (120, 4), (200, 0))
"""How far visceral fat pushes the front of the frame forward at its most."""
_FAT_FRONT = ((-280, 0.9), (-200, 1.5), (-110, 1.7), (-40, 1.2), (60, 0.6), (200, 0.6), (300, 0.4))
_FAT_BACK = ((-280, 1.7), (-190, 1.9), (-120, 1.4), (-40, 0.9), (100, 0.7), (300, 0.8))
_FAT_SIDE = ((-280, 1.7), (-200, 1.6), (-120, 1.3), (-40, 1.0), (100, 0.8), (300, 0.7))
_WALL_SIDE = ((-260, 18), (-100, 12), (60, 11), (320, 13))
_WALL_FRONT, _WALL_BACK = 0.75, 1.6
_PELVIS_HALF_WIDTH = ((-275, 12), (-258, 28), (-230, 54), (-200, 62), (-160, 82), (-130, 112), (-105, 150), (-60, 400))
_PELVIS_HALF_DEPTH = ((-275, 30), (-258, 46), (-230, 66), (-200, 72), (-160, 85), (-130, 100), (-105, 130), (-60, 400))
_PELVIS_Y = ((-275, -12), (-230, 0), (-160, 6), (-60, 10))
_PELVIC_FLOOR_Z = -264
_DOMES = ((70, 12, 100), (-72, 8, 90), (-4, 34, 64))
"""Centre x and y, and height above the rim, of the right, left and central part of the diaphragm."""
_DOME_HALF_WIDTH, _DOME_HALF_DEPTH = 80.0, 100.0
_RIM_Z, _RIM_SLOPE = 10.0, 0.24
_DIAPHRAGM_MM, _LINING_MM = 2.4, 1.5
_SKIN_MM, _GLUTEAL_Z = 2.0, -100.0


def frame_distance(p: Points, spec: PhantomSpec) -> Array:
    """Radial distance to the outside of ribs and muscles."""
    x, y, z = p
    push = profile(_BELLY_MM, z) * np.float32(spec.visceral_fat)
    wide = profile(_FRAME_HALF_WIDTH, z) + np.float32(0.3) * push
    return squircle(x, y - profile(_FRAME_Y, z) - push / 2, wide, profile(_FRAME_HALF_DEPTH, z) + push / 2, 0.66)


def cavity_distance(p: Points, frame: Array, diaphragm: Array) -> Array:
    """Distance to the abdominal and pelvic cavity, under the diaphragm and inside the wall."""
    x, y, z = p
    aside = np.abs(y) / (np.abs(x) + np.abs(y) + 1)
    relative = np.where(y > 0, np.float32(_WALL_FRONT), np.float32(_WALL_BACK))
    wall = profile(_WALL_SIDE, z) * (1 + (relative - 1) * aside)
    pelvis = squircle(x, y - profile(_PELVIS_Y, z), profile(_PELVIS_HALF_WIDTH, z), profile(_PELVIS_HALF_DEPTH, z), 0.3)
    distance = smooth_max(frame + wall, pelvis, 10)
    distance = np.maximum(distance, _PELVIC_FLOOR_Z - z)
    aside = np.abs(x)
    back = profile(SPINE_Y, z) - 30 - y - np.float32(0.7) * np.maximum(aside - 32, 0) - 0.8 * np.maximum(aside - 62, 0)
    distance = smooth_max(distance, back - 400 * (z < -130), 8)
    return smooth_max(distance, diaphragm + np.float32(_DIAPHRAGM_MM / 2), 4)


def diaphragm_distance(p: Points, spec: PhantomSpec) -> Array:
    """Height above the diaphragm, made a distance by its mean slope; negative in the abdomen."""
    x, y, z = p
    height = np.zeros_like(x)
    for centre_x, centre_y, rise in _DOMES:
        u = (x - np.float32(centre_x)) / np.float32(_DOME_HALF_WIDTH)
        v = (y - np.float32(centre_y)) / np.float32(_DOME_HALF_DEPTH)
        dome = np.float32(rise) * np.sqrt(np.clip(1.04 - u * u - v * v, 0, 1))
        height = np.maximum(height, dome)
    rim = np.float32(_RIM_Z - spec.breath_mm) + np.float32(_RIM_SLOPE) * y
    return (z - height - rim) * np.float32(0.72)


def draw_torso(scene: Scene) -> None:
    """Fill the scene's skin, frame, cavity and diaphragm, and paint skin, fat and the muscle wall."""
    spec, tissue, grid = scene.spec, scene.tissue, scene.grid
    p = (grid.x, grid.y, grid.z)
    scene.frame = frame_distance(p, spec)
    scene.diaphragm = diaphragm_distance(p, spec)
    scene.cavity = cavity_distance(p, scene.frame, scene.diaphragm)
    fat_mm = _fat_thickness(p, spec)
    limbs = limb_distance(scene)
    scene.skin = smooth_min(scene.frame - fat_mm, limbs, 12)

    whole = Field(grid, tuple(slice(0, n) for n in grid.shape))  # type: ignore[arg-type]
    whole.distance = scene.skin
    scene.paint(whole, tissue["skin"])
    fat = tissue["fat"] + np.float32(4) * scene.noise("fat", whole.box, 9)
    fat += np.float32(16) * np.maximum(scene.noise("strands", whole.box, 3.6) - np.float32(0.9), 0) * (scene.cavity < 0)
    whole.distance = scene.skin + np.float32(_SKIN_MM)
    scene.paint(whole, fat)
    septa = np.float32(0.4) * np.clip(1 - np.abs(scene.noise("septa", whole.box, 16)) / np.float32(0.16), 0, 1)
    between = np.clip(np.float32(0.3) + np.float32(0.6) * scene.noise("between muscles", whole.box, 9), 0, 0.95)
    share = np.maximum(septa, between * np.clip((_GLUTEAL_Z - grid.z) / 30, 0, 1))
    muscle = tissue["muscle"] + share * np.float32(tissue["fat"] - tissue["muscle"])
    flesh = np.minimum(scene.frame, limbs + np.float32(_SKIN_MM + 0.5 * spec.subcutaneous_mm))
    whole.distance = np.maximum(flesh, -scene.cavity - np.float32(_LINING_MM))
    np.maximum(whole.distance, _chest_cavity(scene), out=whole.distance)
    scene.paint(whole, muscle)


def chest_wall_mm(p: Points) -> Array:
    """Thickness of the chest wall, which is larger behind, at the back muscles."""
    return 15 + np.float32(0.1) * np.maximum(-p[1] - 20, 0)


def beside_spine(p: Points) -> Array:
    """Positive in the column behind the vertebral bodies, where neither lung nor cavity reaches."""
    x, y, z = p
    behind = y - profile(SPINE_Y, z)
    return np.where(behind < 0, 12 - np.abs(x) - np.float32(0.9) * behind, np.float32(-99))


def _chest_cavity(scene: Scene) -> Array:
    """Positive inside the rib cage above the diaphragm, where there is no muscle."""
    p = (scene.grid.x, scene.grid.y, scene.grid.z)
    inside = np.maximum(scene.frame + chest_wall_mm(p), np.float32(_DIAPHRAGM_MM / 2) - scene.diaphragm)
    return -np.maximum(inside, beside_spine(p))


def _fat_thickness(p: Points, spec: PhantomSpec) -> Array:
    x, y, z = p
    total = np.abs(x) + np.abs(y) + 1
    ends = np.where(y > 0, profile(_FAT_FRONT, z), profile(_FAT_BACK, z))
    side = profile(_FAT_SIDE, z)
    share = np.square(y / total) * np.float32(1.3)
    thickness = np.float32(spec.subcutaneous_mm) * (side + (ends - side) * np.minimum(share, 1))
    cleft = np.clip(1 - np.abs(x) / 14, 0, 1) * np.clip((-185 - z) / 40, 0, 1) * (y < 0)
    return thickness * (1 - np.float32(0.75) * cleft) + np.float32(2)
