"""Stomach, duodenum, colon and small bowel, with their contents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from umlite.phantom.lesions import grow_lesions
from umlite.phantom.loops import pack_loops
from umlite.phantom.noise import Array
from umlite.phantom.scan_grid import Field, tube
from umlite.phantom.scene import Scene
from umlite.phantom.shapes import arc_length, spline

ORAL_HU = {"none": 18.0, "water": 6.0, "positive": 260.0}
_HAUSTRA_MM, _HAUSTRA_DEPTH = 34.0, 0.2
_COLON_KINDS = {"stool": 0.5, "air": 0.26, "fluid": 0.12, "collapsed": 0.12}
_COLON_SEGMENT_MM = 170.0
_COLLAPSED_MM = 9.0


def draw_stomach_and_duodenum(scene: Scene) -> None:
    """The stomach with a level of air over its contents, and the duodenum round the head of the pancreas."""
    stomach = tube(scene.grid, [scene.curves["stomach"]], blend_mm=10)
    if stomach.size:
        scene.roughen("stomach", stomach, 20, 2.5)
        scene.place("stomach", stomach)
        rugae = 1.2 * np.abs(scene.noise("rugae", stomach.box, 5))
        scene.paint(stomach, scene.tissue["bowel_wall"])
        _fill_stomach(scene, stomach, stomach.distance + 3.2 + rugae)
    duodenum = tube(scene.grid, [scene.curves["duodenum"]], blend_mm=2)
    if duodenum.size:
        scene.roughen("duodenum", duodenum, 7, 1.3)
        scene.place("duodenum", duodenum, gap_mm=0.3)
        scene.paint(duodenum, scene.tissue["bowel_wall"])
        inside = Field(scene.grid, duodenum.box)
        inside.distance = duodenum.distance + 3 + scene.noise("duodenal folds", duodenum.box, 4)
        scene.paint(inside, _meal(scene, inside, 6))


def draw_colon(scene: Scene) -> None:
    """One tube with haustra from the caecum to the rectosigmoid; stool, gas, fluid or nothing by segment."""
    curve = _haustrated(scene)
    field = tube(scene.grid, [curve], blend_mm=1.5)
    scene.fields["colon"] = field
    if not field.size:
        return
    scene.roughen("colon", field, 8, 1.1)
    scene.place("colon", field, gap_mm=0.6)
    scene.paint(field, scene.tissue["bowel_wall"])
    _fill_colon(scene, field, curve)
    grow_lesions(scene, "colon_tumor", ("colon",))


def draw_small_bowel(scene: Scene) -> None:
    """Coiled loops in the room that is left, with fluid, gas or oral contrast."""
    rng = scene.rng("small bowel")
    curve = pack_loops(scene, rng)
    field = tube(scene.grid, [curve])
    if not field.size:
        return
    scene.roughen("intestine", field, 6, 0.9)
    scene.place("intestine", field, gap_mm=1.2, inside_mm=3.0)
    scene.paint(field, scene.tissue["bowel_wall"] + 6)
    inside = Field(scene.grid, field.box)
    folds = 1.1 * np.abs(np.sin(field.arc_mm * np.float32(0.75))) + 1.5 * scene.noise("collapse", field.box, 16)
    inside.distance = field.distance + np.float32(3.0) + folds
    scene.paint(inside, _meal(scene, inside, 12))
    gas = Field(scene.grid, field.box)
    bubble = np.float32(1.6) - scene.noise("bowel gas", field.box, 12)
    axis_y = np.interp(field.arc_mm, arc_length(curve), curve[:, 1]).astype(np.float32)
    gas.distance = np.maximum(inside.distance, np.maximum(bubble * 12, axis_y + 1 - field.points[1]))
    scene.paint(gas, scene.tissue["air"])


def _meal(scene: Scene, field: Field, step_mm: float) -> Array:
    """Oral contrast spreads unevenly along the bowel."""
    oral = np.float32(ORAL_HU[scene.spec.oral_contrast])
    uneven = scene.noise("meal", field.box, step_mm)
    if scene.spec.oral_contrast == "positive":
        return oral * np.clip(np.float32(0.65) + np.float32(0.4) * uneven, 0.06, 1.2)
    return oral + 5 * uneven


def _fill_stomach(scene: Scene, stomach: Field, lumen: Array) -> None:
    rng, spec = scene.rng("stomach contents"), scene.spec
    inside = Field(scene.grid, stomach.box)
    inside.distance = lumen
    contents = _meal(scene, inside, 14)
    if spec.oral_contrast == "none" and rng.random() < 0.6:
        contents = contents + 22 - 60 * np.maximum(scene.noise("food", stomach.box, 5) - 0.6, 0)
    scene.paint(inside, contents)
    y = scene.grid.axes_mm[1][stomach.box[1]][None, :, None]
    level = np.float32(rng.uniform(46, 92) * spec.scale[1])
    inside.distance = np.maximum(lumen, level - y)
    scene.paint(inside, scene.tissue["air"])


def _haustrated(scene: Scene) -> NDArray[np.float64]:
    curve = spline(_with_collapse(scene), 8)
    arc = arc_length(curve)
    rng = scene.rng("haustra")
    beat = np.cumsum(np.gradient(arc) * 2 * np.pi / (_HAUSTRA_MM * np.exp(rng.normal(0, 0.12, len(arc)))))
    curve[:, 3] *= 1 + _HAUSTRA_DEPTH * (np.abs(np.sin(beat / 2)) - 0.64) * 1.6
    return curve


def _with_collapse(scene: Scene) -> NDArray[np.float64]:
    path = scene.paths["colon"].copy()
    arc = arc_length(path)
    for i, kind in enumerate(_colon_kinds(scene, arc[-1])):
        part = (arc // _COLON_SEGMENT_MM).astype(int) == i
        if kind == "collapsed":
            path[part, 3] = np.minimum(path[part, 3], _COLLAPSED_MM)
    return path


def _colon_kinds(scene: Scene, length_mm: float) -> list[str]:
    rng = scene.rng("colon contents")
    count = int(length_mm * 1.25 / _COLON_SEGMENT_MM) + 1
    return [str(k) for k in rng.choice(list(_COLON_KINDS), count, p=list(_COLON_KINDS.values()))]


def _fill_colon(scene: Scene, field: Field, curve: NDArray[np.float64]) -> None:
    """Every segment has its contents; gas lies in front of a level, and stool is mottled with it."""
    kinds = _colon_kinds(scene, float(arc_length(scene.paths["colon"])[-1]))
    arc, rng = arc_length(curve), scene.rng("colon levels")
    levels = {"stool": 0.8, "air": -0.75, "fluid": 0.35, "collapsed": 2.0}
    share = np.array([levels[k] for k in kinds]) + rng.normal(0, 0.3, len(kinds))
    at = np.clip(arc / (arc[-1] + 1) * len(kinds), 0, len(kinds) - 1).astype(int)
    level_y = curve[:, 1] + np.convolve(np.pad(share[at], 2, "edge"), np.ones(5) / 5, "valid") * curve[:, 3]
    level = np.interp(field.arc_mm, arc, level_y).astype(np.float32)
    fluid = np.interp(field.arc_mm, arc, np.array([k == "fluid" for k in kinds])[at]).astype(np.float32)
    inside = Field(scene.grid, field.box)
    inside.distance = field.distance + np.float32(2.6)
    mottle = scene.noise("stool", field.box, 3.2)
    stool = np.float32(45) - 330 * np.maximum(mottle - np.float32(0.25), 0)
    oral = np.float32(ORAL_HU[scene.spec.oral_contrast])
    stool = stool + fluid * (np.float32(25) - stool)
    if scene.spec.oral_contrast == "positive":
        stool = stool + np.float32(0.55) * oral * (np.float32(1) + np.float32(0.4) * mottle)
    scene.paint(inside, stool)
    np.maximum(inside.distance, level - field.points[1], out=inside.distance)
    scene.paint(inside, scene.tissue["air"])
