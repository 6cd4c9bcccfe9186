"""The solid organs of the upper abdomen: kidneys, adrenal glands, gallbladder, liver, spleen, pancreas."""

from __future__ import annotations

import numpy as np

from umlite.phantom.lesions import grow_lesions
from umlite.phantom.scan_grid import Field, tube
from umlite.phantom.scene import Scene
from umlite.phantom.shapes import Points, ellipsoid, rotate, rotation, smooth_max, smooth_min
from umlite.phantom.vessels import draw_hepatic_vessels

# Centre and radii in mm of body coordinates.
_KIDNEYS = {"right": ((71, -12, -24), (29.5, 25, 54)), "left": ((-72, -14, -10), (29.5, 25, 55))}
_KIDNEY_DEG = (-9.0, 13.0, 28.0)
_KIDNEY_BEND, _SINUS, _CORTEX_MM = 7.0, ((-17, 3, 0), (17, 12, 24)), 7.0
_LIVER = (((80, 6, 42), (80, 88, 92)), ((8, 60, 58), (82, 50, 44)))
_LIVER_HOLLOW = ((-4, 14, -42), (70, 78, 90))
_LIVER_EDGE_Z, _LIVER_EDGE_SLOPE, _LIVER_EDGE_FRONT = -48.0, 0.62, 0.38
_SPLEEN = ((-115, -24, 36), (38, 57, 55))
_SPLEEN_HOLLOW = ((-62, 8, 34), (44, 48, 62))
_ADRENALS = {
    # side: knots of the ridge in front, then the ends of both limbs, from the lower to the upper end
    "right": (((34, 6, 20), (29, -2, 52)), ((46, -14, 18), (38, -20, 44)), ((32, -22, 22), (28, -22, 46))),
    "left": (((-38, 14, 10), (-36, 8, 46)), ((-54, -8, 6), (-48, -12, 38)), ((-36, -12, 12), (-33, -12, 42))),
}
_ADRENAL_MM = 3.4


def draw_retroperitoneum(scene: Scene) -> None:
    """Kidneys with their lesions, and the adrenal glands."""
    for side, sign in (("right", 1), ("left", -1)):
        if f"{side}_kidney" not in scene.spec.missing:
            _kidney(scene, side, sign)
    for kind in ("kidney_tumor", "kidney_cyst"):
        grow_lesions(scene, kind, ("right_kidney", "left_kidney"))
    for side in _ADRENALS:
        _adrenal(scene, side)


def draw_upper_abdomen(scene: Scene) -> None:
    """Gallbladder, pancreas with its lesions, liver with its vessels and lesions, spleen."""
    if "gallbladder" not in scene.spec.missing:
        _gallbladder(scene)
    _pancreas(scene)
    _liver(scene)
    if "spleen" not in scene.spec.missing:
        _spleen(scene)


def _kidney(scene: Scene, side: str, sign: int) -> None:
    grid, tissue, name = scene.grid, scene.tissue, f"{side}_kidney"
    rng = scene.rng(name)
    centre, radii = np.array(_KIDNEYS[side][0]) + rng.normal(0, (2, 3, 6)), np.array(_KIDNEYS[side][1], float)
    radii *= np.exp(rng.normal(0.02, 0.04)) * np.exp(rng.normal(0, 0.035, 3))
    field = Field(grid, grid.box(centre - 70, centre + 70))
    if not field.size:
        return
    turn = rotation(np.multiply(_KIDNEY_DEG, (1, sign, -sign)) + rng.normal(0, 4, 3))
    u, v, w = rotate(field.points, centre, turn.T)
    u = sign * u + np.float32(_KIDNEY_BEND) * (np.square(w / np.float32(radii[2])) - np.float32(0.4))
    own: Points = (u, v, w)
    kidney = ellipsoid(own, (0, 0, 0), radii)
    sinus = ellipsoid(own, *_SINUS) + 2.5 * scene.noise(f"sinus {side}", field.box, 6)
    field.distance = smooth_max(kidney, -sinus - 5, 6)
    scene.roughen(name, field, 12, 1.2)
    scene.place(name, field)
    scene.paint(field, tissue["renal_cortex"])
    medulla = Field(grid, field.box)
    columns = 3.2 * np.cos(5 * np.arctan2(w * np.float32(0.6), u + 10)) * np.cos(v * np.float32(0.16))
    medulla.distance = np.maximum(kidney + np.float32(_CORTEX_MM), columns - 0.5)
    np.maximum(medulla.distance, field.distance + 3, out=medulla.distance)
    scene.paint(medulla, tissue["renal_medulla"])
    pelvis = Field(grid, field.box)
    calyces = np.abs(scene.noise(f"calyces {side}", field.box, 7)) * 5 - 2.2
    pelvis.distance = np.maximum(np.maximum(sinus + 3, calyces), ellipsoid(own, (-18, 0, 0), (22, 14, 26)))
    scene.paint(pelvis, tissue["renal_pelvis"])


def _adrenal(scene: Scene, side: str) -> None:
    ridge, first, second = (np.array(k, float) for k in _ADRENALS[side])
    every = np.concatenate([ridge, first, second])
    field = Field(scene.grid, scene.grid.box(every.min(axis=0) - 12, every.max(axis=0) + 12))
    if not field.size:
        return
    for limb in (first, second):
        field.add_plate(np.array([ridge[0], ridge[1], limb[0]]), _ADRENAL_MM, 2)
        field.add_plate(np.array([ridge[1], limb[0], limb[1]]), _ADRENAL_MM, 2)
    name = f"{side}_adrenal_gland"
    scene.roughen(name, field, 7, 0.7)
    scene.place(name, field, gap_mm=0.4)
    scene.paint(field, scene.tissue["adrenal"])


def _gallbladder(scene: Scene) -> None:
    field = tube(scene.grid, [scene.curves["gallbladder"]])
    if not field.size:
        return
    scene.roughen("gallbladder", field, 12, 0.8)
    scene.place("gallbladder", field)
    scene.paint(field, scene.tissue["bowel_wall"])
    bile = Field(scene.grid, field.box)
    bile.distance = field.distance + np.float32(1.8)
    scene.paint(bile, scene.tissue["bile"])


def _liver(scene: Scene) -> None:
    grid, rng = scene.grid, scene.rng("liver")
    field = Field(grid, grid.box((-95, -95, -100), (165, 150, 130)))
    scene.fields["liver"] = field
    if not field.size:
        return
    size = np.exp(rng.normal(-0.04, 0.05))
    right, left = (np.array(row[1]) * size for row in _LIVER)
    left[0] *= np.exp(rng.normal(-0.05, 0.2))
    down = -scene.spec.breath_mm
    body = ellipsoid(field.points, np.add(_LIVER[0][0], (0, 0, down)), right)
    body = smooth_min(body, ellipsoid(field.points, np.add(_LIVER[1][0], (0, 0, down)), left), 28)
    x, y, z = field.points
    edge = np.float32(_LIVER_EDGE_Z + down + rng.normal(0, 9))
    edge = edge + np.float32(_LIVER_EDGE_SLOPE) * np.maximum(105 - x, 0) + np.float32(_LIVER_EDGE_FRONT) * (y - 10)
    body = smooth_max(body, np.float32(0.78) * (edge - z), 16)
    hollow = ellipsoid(field.points, np.add(_LIVER_HOLLOW[0], (0, 0, down)), _LIVER_HOLLOW[1])
    field.distance = smooth_max(body, -hollow, 14)
    scene.roughen("liver", field, 26, 2.6)
    scene.place("liver", field, gap_mm=0.3, inside_mm=0.3)
    texture = np.float32(2.5) * scene.noise("parenchyma", field.box, 6)
    scene.paint(field, np.float32(scene.tissue["liver"]) + texture)
    draw_hepatic_vessels(scene, field)
    grow_lesions(scene, "liver_tumor", ("liver",))


def _spleen(scene: Scene) -> None:
    grid, rng = scene.grid, scene.rng("spleen")
    radii = np.array(_SPLEEN[1]) * np.exp(rng.normal(0, 0.08)) * np.exp(rng.normal(0, 0.06, 3))
    centre = np.array(_SPLEEN[0]) + rng.normal(0, 3, 3) + (0, 0, -scene.spec.breath_mm)
    field = Field(grid, grid.box(centre - radii - 10, centre + radii + 10))
    if not field.size:
        return
    hollow = ellipsoid(field.points, np.add(_SPLEEN_HOLLOW[0], (0, 0, -scene.spec.breath_mm)), _SPLEEN_HOLLOW[1])
    field.distance = smooth_max(ellipsoid(field.points, centre, radii), -hollow, 10)
    scene.roughen("spleen", field, 16, 1.8)
    scene.place("spleen", field, inside_mm=0.6)
    texture = np.float32(2) * scene.noise("pulp", field.box, 6)
    if scene.spec.phase == "arterial":
        texture = np.float32(26) * np.sin(3 * scene.noise("pulp", field.box, 11))
    scene.paint(field, np.float32(scene.tissue["spleen"]) + texture)


def _pancreas(scene: Scene) -> None:
    field = tube(scene.grid, [scene.curves["pancreas"]], blend_mm=3)
    scene.fields["pancreas"] = field
    if not field.size:
        return
    lean = 1 - 0.35 * scene.spec.visceral_fat
    scene.roughen("pancreas", field, 9, 1.0)
    scene.roughen("lobules", field, 4.5, 1.1)
    scene.place("pancreas", field)
    fatty = np.float32(22 * (1 - lean)) * np.maximum(scene.noise("pancreas fat", field.box, 4), 0)
    scene.paint(field, np.float32(scene.tissue["pancreas"]) - 3 * fatty)
    grow_lesions(scene, "pancreas_tumor", ("pancreas",))
