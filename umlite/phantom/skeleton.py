"""Bones of the trunk: spine, ribs, sternum."""

from __future__ import annotations

import numpy as np

from umlite.phantom.scan_grid import Field
from umlite.phantom.scene import Scene, bone_hu
from umlite.phantom.shapes import ellipsoid, profile, smooth_min, squircle
from umlite.phantom.torso import SPINE_Y

DISCS_Z = (-135, -103, -69, -35, 0, 33, 62, 88, 112, 135, 157, 178, 199, 219, 239, 259, 278, 296, 312, 330, 350)
"""Upper ends of S1, L5, L4, ... in mm."""
_BODY_HALF_WIDTH = ((-150, 27), (-35, 24), (60, 20), (150, 16), (330, 11))
_BODY_HALF_DEPTH = ((-150, 18), (-35, 17), (60, 15), (150, 14), (330, 9))
_PROCESS_REACH = ((-150, 34), (-35, 44), (30, 36), (70, 30), (250, 32), (330, 28))
_CANAL_Y, _CANAL_RADII = 9.0, (10.0, 8.0)
_RIB_PITCH, _RIB_FIRST_Z, _RIB_RADII = 24.0, 47.0, (4.0, 6.5)
_RIB_DROP = 46.0
_RIB_END = (-0.35, 0.05, 0.42, 0.55, 0.62, 0.66, 0.68, 0.68, 0.66, 0.62, 0.58, 0.5)
"""Where the bony ribs 12, 11, ... 1 end: sine of the angle from the side, -1 behind to 1 in front."""
_STERNUM_Z = (92.0, 262.0)


def draw_trunk_skeleton(scene: Scene) -> None:
    """Paint the spine, which no organ may enter, ribs and sternum."""
    _spine(scene)
    _ribs(scene)


def _spine(scene: Scene) -> None:
    grid, tissue = scene.grid, scene.tissue
    field = Field(grid, grid.box((-50, -125, -140), (50, 45, 335)))
    if not field.size:
        return
    x, y, z = field.points
    y = y - profile(SPINE_Y, z)
    half_depth = profile(_BODY_HALF_DEPTH, z)
    body = squircle(x, y, profile(_BODY_HALF_WIDTH, z), half_depth, 0.4)
    upper = np.asarray(DISCS_Z, np.float32)
    level = np.clip(np.searchsorted(upper, z + np.float32(0.12) * y), 1, len(upper) - 1)
    height = upper[level] - upper[level - 1]
    phase = (z + np.float32(0.12) * y - upper[level - 1]) / height
    from_disc = (np.float32(0.5) - np.abs(phase - np.float32(0.5))) * height - np.float32(3.6)
    waist = np.float32(2.6) * np.square(1 - np.abs(2 * phase - 1))
    y_canal = y + half_depth + np.float32(_CANAL_Y)
    canal = ellipsoid((x, y_canal, np.zeros_like(x)), (0, 0, 0), (*_CANAL_RADII, 1e4))
    arch = np.abs(canal - 3) - np.float32(3)
    np.maximum(arch, np.float32(3) - from_disc, out=arch)
    mid = (phase - np.float32(0.55)) * height
    u = np.abs(x) - profile(_PROCESS_REACH, z) / 2
    reach = np.maximum(np.abs(u) - profile(_PROCESS_REACH, z) / 2, 0)
    wings = np.sqrt(np.square(reach) + np.square(y_canal - 1 + np.abs(x) * np.float32(0.18)) + np.square(mid) * 0.5)
    wings -= np.float32(4.2)
    back = np.maximum(np.abs(y_canal + 25) - np.float32(14), 0)
    slope = mid + np.float32(0.35) * (-y_canal - 12) + 3
    spinous = np.sqrt(np.square(back) + np.square(x) + np.square(np.maximum(np.abs(slope) - 6, 0))) - np.float32(3.6)
    behind = smooth_min(smooth_min(arch, wings, 3), spinous, 3)
    behind = np.maximum(behind, -canal)
    disc = Field(grid, field.box)
    disc.distance = np.maximum(body + 1, from_disc)
    field.distance = np.minimum(np.maximum(body + waist, -from_disc), behind)
    scene.paint(disc, tissue["disc"])
    scene.take(disc)
    scene.paint(field, bone_hu(scene, field))
    scene.take(field)
    disc.distance = canal
    scene.paint(disc, tissue["cord"])
    scene.take(disc)


def _ribs(scene: Scene) -> None:
    grid = scene.grid
    field = Field(grid, grid.box((-165, -125, 0), (165, 160, 320)))
    if not field.size:
        return
    x, y, z = field.points
    frame = scene.frame[field.box]
    centre = profile(SPINE_Y, z) + 45
    sine = (y - centre) / np.sqrt(x * x + np.square(y - centre) + 1)
    drop = np.float32(_RIB_DROP) * (sine + np.float32(0.75))
    place = (z + drop - np.float32(_RIB_FIRST_Z)) / np.float32(_RIB_PITCH)
    number = np.clip(np.round(place), 0, len(_RIB_END) - 1).astype(np.int32)
    off = (place - number) * np.float32(_RIB_PITCH * 0.86)
    deep = frame + np.float32(8.5)
    bar = np.sqrt(np.square(deep / np.float32(_RIB_RADII[0])) + np.square(off / np.float32(_RIB_RADII[1]))) - 1
    bar *= np.float32(min(_RIB_RADII))
    end = np.asarray(_RIB_END, np.float32)[number]
    past_end = (sine - end) * 120
    field.distance = np.maximum(bar, past_end)
    np.maximum(field.distance, 14 - np.abs(x), out=field.distance)
    cartilage = Field(grid, field.box)
    cartilage.distance = np.maximum(bar, -past_end)
    np.maximum(cartilage.distance, (number < 3) * np.float32(20) - 5, out=cartilage.distance)
    np.maximum(cartilage.distance, 55 - z - np.float32(0.35) * np.abs(x), out=cartilage.distance)
    scene.paint(cartilage, scene.tissue["cartilage"])
    scene.paint(field, bone_hu(scene, field, 2.5))
    sternum = Field(grid, grid.box((-30, 40, _STERNUM_Z[0] - 20), (30, 150, _STERNUM_Z[1] + 10)))
    if sternum.size:
        x, y, z = sternum.points
        width = 14 + 6 * np.clip((z - 210) / 40, 0, 1) - 6 * np.clip((115 - z) / 25, 0, 1)
        flat = np.maximum(np.abs(scene.frame[sternum.box] + 7) - 5, np.abs(x) - width)
        flat = np.maximum(np.maximum(flat, _STERNUM_Z[0] - z), z - np.float32(_STERNUM_Z[1]))
        sternum.distance = np.maximum(flat, -y)
        scene.paint(sternum, bone_hu(scene, sternum))
