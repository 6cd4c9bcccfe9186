"""Shoulders and arms: their outline, which the skin joins, and their bones."""

from __future__ import annotations

import numpy as np

from umlite.phantom.noise import Array
from umlite.phantom.paths import Knots, mirrored
from umlite.phantom.scan_grid import FAR_MM, tube
from umlite.phantom.scene import Scene, bone_hu
from umlite.phantom.shapes import spline

# Knots (x, y, z, radius) of flesh and bones on the patient's right.
_SHOULDER: Knots = ((60, -18, 300, 52), (110, -16, 302, 52), (150, -12, 305, 50))
_CLAVICLE: Knots = ((18, 36, 272, 6), (60, 44, 290, 5.5), (110, 20, 312, 6))
_SCAPULA: Knots = ((70, -72, 262, 5), (96, -78, 232, 4.5), (74, -92, 190, 4))
_ARM_DOWN: Knots = (
    (168, -14, 300, 44),
    (186, -18, 250, 42),
    (200, -26, 120, 38),
    (198, -18, 0, 36),
    (192, 12, -120, 30),
    (186, 28, -220, 26),
    (184, 30, -290, 22),
)
_HUMERUS: Knots = ((158, -10, 300, 20), (176, -14, 270, 13), (194, -22, 160, 10), (200, -26, 40, 12))
_FOREARM: tuple[Knots, ...] = (
    ((206, -26, 30, 9), (204, 0, -100, 7), (192, 26, -210, 8)),
    ((192, -20, 30, 8), (186, 6, -100, 6), (180, 30, -210, 8)),
)
_ARM_UP: Knots = ((156, -10, 305, 48), (175, -5, 340, 46))


def limb_distance(scene: Scene) -> Array:
    """Distance on the whole grid to the shoulders, if the chest is in view, and to arms beside the body or overhead."""
    distance = np.full(scene.grid.shape, FAR_MM, np.float32)
    for sign in (1, -1):
        flesh = [_SHOULDER, _ARM_DOWN if scene.spec.arms_down else _ARM_UP]
        field = tube(scene.grid, [spline(mirrored(k, sign), 24) for k in flesh], blend_mm=12)
        view = distance[field.box]
        np.minimum(view, field.distance, out=view)
    return distance


def draw_limb_bones(scene: Scene) -> None:
    """Clavicles, scapulae, and the bones of the arms."""
    bones = [_CLAVICLE, _SCAPULA, *((_HUMERUS, *_FOREARM) if scene.spec.arms_down else (_HUMERUS[:2],))]
    for sign in (1, -1):
        field = tube(scene.grid, [spline(mirrored(k, sign), 16) for k in bones])
        if field.size:
            np.maximum(field.distance, scene.skin[field.box] + 3, out=field.distance)
            scene.paint(field, bone_hu(scene, field, 2.5))
