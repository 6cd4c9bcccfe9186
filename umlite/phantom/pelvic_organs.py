"""Bladder, prostate or uterus, rectum."""

from __future__ import annotations

import numpy as np

from umlite.phantom.scan_grid import Field, tube
from umlite.phantom.scene import Scene
from umlite.phantom.shapes import ellipsoid, smooth_max

_BLADDER = {"male": ((0, 28, -213), (45, 36, 33)), "female": ((0, 36, -222), (44, 30, 30))}
_BLADDER_LIFT_MM = 34.0
_PROSTATE = ((0, 18, -249), (24, 18, 19))
_VESICLES = (((6, -4, -232, 5), (24, -8, -226, 5), (36, -6, -222, 3)),)
_WALL_MM = 2.5


def draw_pelvic_organs(scene: Scene) -> None:
    """Rectum, bladder, and prostate or uterus (one class)."""
    _rectum(scene)
    if "prostate" not in scene.spec.missing:
        if scene.spec.sex == "male":
            _prostate(scene)
        else:
            _uterus(scene)
    _bladder(scene)


def _rectum(scene: Scene) -> None:
    field = tube(scene.grid, [scene.curves["rectum"]], blend_mm=2)
    if not field.size:
        return
    scene.roughen("rectum", field, 9, 1.6)
    scene.place("rectum", field, inside_mm=None)
    scene.paint(field, scene.tissue["bowel_wall"])
    rng = scene.rng("rectum contents")
    inside = Field(scene.grid, field.box)
    inside.distance = field.distance + np.float32(3.5)
    high = scene.grid.at(field.box)[2] > -250
    np.maximum(inside.distance, np.where(high, np.float32(-99), np.float32(2)), out=inside.distance)
    stool = np.float32(rng.uniform(-60, 40)) - 130 * np.maximum(scene.noise("rectal stool", field.box, 3.5), 0)
    scene.paint(inside, stool)
    if rng.random() < 0.4:
        y = scene.grid.at(field.box)[1]
        level = np.float32(rng.uniform(-58, -44))
        np.maximum(inside.distance, level - y, out=inside.distance)
        scene.paint(inside, scene.tissue["air"])


def _prostate(scene: Scene) -> None:
    rng = scene.rng("prostate")
    radii = np.array(_PROSTATE[1]) * np.exp(rng.normal(0, 0.12))
    field = Field(scene.grid, scene.grid.box(np.subtract(_PROSTATE[0], 36), np.add(_PROSTATE[0], 36)))
    if not field.size:
        return
    field.distance = ellipsoid(field.points, _PROSTATE[0], radii)
    scene.roughen("prostate", field, 10, 1.0)
    scene.place("prostate", field, inside_mm=None)
    scene.paint(field, np.float32(scene.tissue["prostate"]) + 8 * scene.noise("prostate zones", field.box, 6))
    vesicles = tube(scene.grid, [np.array(k) * (s, 1, 1, 1) for k in _VESICLES for s in (1.0, -1.0)], blend_mm=2)
    if vesicles.size:
        np.maximum(vesicles.distance, -scene.taken[vesicles.box], out=vesicles.distance)
        scene.paint(vesicles, scene.tissue["prostate"] - 15)
        scene.take(vesicles)


def _uterus(scene: Scene) -> None:
    field = tube(scene.grid, [scene.curves["uterus"]], blend_mm=6)
    if not field.size:
        return
    scene.roughen("uterus", field, 14, 2.0)
    scene.place("prostate", field)
    scene.paint(field, np.float32(scene.tissue["uterus"]) + 9 * scene.noise("myometrium", field.box, 7))
    lining = Field(scene.grid, field.box)
    lining.distance = field.distance + np.float32(14)
    scene.paint(lining, scene.tissue["uterus"] - 28)


def _bladder(scene: Scene) -> None:
    spec = scene.spec
    fill = spec.bladder_fill
    centre = np.add(_BLADDER[spec.sex][0], (0, 0, _BLADDER_LIFT_MM * (fill - 1)))
    radii = np.multiply(_BLADDER[spec.sex][1], fill * np.array([1, 1, 1.05]))
    field = Field(scene.grid, scene.grid.box(centre - radii - 12, centre + radii + 12))
    if not field.size:
        return
    z = field.points[2]
    field.distance = smooth_max(ellipsoid(field.points, centre, radii), z - np.float32(centre[2] + 0.72 * radii[2]), 14)
    scene.roughen("bladder", field, 18, 2.2)
    scene.place("bladder", field, inside_mm=0.5)
    scene.paint(field, scene.tissue["bowel_wall"])
    urine = Field(scene.grid, field.box)
    urine.distance = field.distance + np.float32(_WALL_MM)
    hu = np.full(field.distance.shape, scene.tissue["urine"], np.float32)
    if spec.phase == "late":
        below = np.float32(scene.rng("bladder contrast").uniform(-0.7, 0.3) * radii[1] + centre[1]) - field.points[1]
        hu += np.float32(240) * np.clip(below / 8, 0, 1)
    scene.paint(urine, hu)
