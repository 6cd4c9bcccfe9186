"""Sacrum, hip bones and femora; the heads of the femora are classes."""

from __future__ import annotations

import numpy as np

from umlite.phantom.paths import Knots, mirrored
from umlite.phantom.scan_grid import Field
from umlite.phantom.scene import Scene, bone_hu
from umlite.phantom.shapes import capsule, ellipsoid, profile, smooth_min, spline

_SACRUM = ((0, -18, -138, 24), (0, -42, -160, 22), (0, -70, -185, 17), (0, -84, -212, 11), (0, -76, -240, 6))
_HIP = (88.0, 4.0, -226.0)
HEAD_MM = 23.5
_WING = ((42, -78, -138), (58, -76, -108), (90, -42, -88), (118, -2, -92), (128, 34, -116), (122, 48, -140))
_WING_FOOT = ((66, -38, -200), (86, -22, -196), (96, -6, -192), (100, 8, -192), (98, 22, -196))
_RAMI: tuple[Knots, ...] = (
    ((72, 26, -210, 11), (48, 46, -222, 9), (22, 58, -232, 9), (9, 60, -240, 10), (8, 58, -250, 9)),
    ((8, 57, -250, 8), (30, 34, -266, 7), (50, 6, -276, 9)),
    ((76, -22, -212, 14), (68, -32, -232, 12), (58, -20, -260, 13), (52, -2, -278, 11)),
    ((66, -34, -200, 12), (76, -20, -196, 14), (92, 2, -192, 14), (86, 22, -202, 11)),
)
_FEMUR: tuple[Knots, ...] = (
    ((88, 4, -226, 17), (112, 0, -242, 14), (126, -4, -252, 17)),
    ((126, -4, -240, 15), (128, 0, -262, 17), (122, 8, -300, 15)),
)


def draw_pelvic_bones(scene: Scene) -> None:
    """Paint the bones of the pelvis and mark the heads of the femora."""
    grid = scene.grid
    sacrum = Field(grid, grid.box((-70, -110, -250), (70, 15, -128)))
    if sacrum.size:
        x, y, z = sacrum.points
        curve = spline(_SACRUM, 14)
        wide = profile([(-245, 4), (-225, 12), (-200, 34), (-165, 54), (-135, 52)], z)
        squeezed = np.maximum(np.abs(x) - wide + 6, 0)
        depth = profile([(k[2], k[1]) for k in curve[::-1]], z) - np.float32(0.004) * x * x
        thick = profile([(k[2], k[3] * 0.7) for k in curve[::-1]], z)
        leaning = np.float32(0.8) * (y - depth)
        sacrum.distance = np.sqrt(np.square(squeezed) + np.square(np.maximum(np.abs(leaning) - thick + 6, 0))) - 6
        np.maximum(sacrum.distance, np.maximum(z + 134 + np.float32(0.5) * y, -244 - z), out=sacrum.distance)
        scene.roughen("sacrum", sacrum, 7, 1.3)
        scene.paint(sacrum, bone_hu(scene, sacrum, 1.8))
        scene.take(sacrum)
    for side, name in ((1, "right_head_of_femur"), (-1, "left_head_of_femur")):
        _hip(scene, side, name)


def _hip(scene: Scene, side: int, name: str) -> None:
    grid, centre = scene.grid, np.multiply(_HIP, (side, 1, 1))
    low, high = (-140, -105, -300), (-2, 75, -70)
    if side > 0:
        low, high = (2, low[1], low[2]), (140, high[1], high[2])
    bone = Field(grid, grid.box(low, high))
    if not bone.size:
        return
    crest, foot = np.asarray(_WING, float) * (side, 1, 1), np.asarray(_WING_FOOT, float) * (side, 1, 1)
    for i in range(len(foot)):
        bone.add_plate(np.array([crest[i], crest[i + 1], foot[i]]), 9, 6)
        if i + 1 < len(foot):
            bone.add_plate(np.array([crest[i + 1], foot[i], foot[i + 1]]), 9, 6)
    for knots in _RAMI:
        bone.add_tube(spline(mirrored(knots, side), 12), 6)
    ball = ellipsoid(bone.points, centre, (HEAD_MM,) * 3)
    cup = np.maximum(ball - 8, (bone.points[0] - centre[0]) * side - 14)
    bone.distance = smooth_min(bone.distance, cup, 6)
    np.maximum(bone.distance, np.float32(2.5) - ball, out=bone.distance)
    scene.paint(bone, bone_hu(scene, bone, 2.4))
    scene.take(bone)
    femur = Field(grid, grid.box(np.subtract(centre, (70, 40, 75)), np.add(centre, (70, 40, 30))))
    if not femur.size:
        return
    femur.distance = ellipsoid(femur.points, centre, (HEAD_MM,) * 3)
    for knots in _FEMUR:
        femur.add_tube(spline(mirrored(knots, side), 14), 8)
    np.maximum(femur.distance, np.float32(0.8) - scene.taken[femur.box], out=femur.distance)
    scene.paint(femur, bone_hu(scene, femur, 3.0))
    scene.take(femur)
    head = Field(grid, femur.box)
    along = capsule(femur.points, centre, np.multiply(_FEMUR[0][1][:3], (side, 1, 1)))[1]
    head.distance = np.maximum(femur.distance, ellipsoid(femur.points, centre, (HEAD_MM + 2,) * 3))
    head.distance = np.where(along > 0.95, np.float32(5), head.distance)
    scene.mark(name, head)
    scene.fields[name] = head
