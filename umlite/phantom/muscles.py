"""The muscles along the spine and into the pelvis, each in its fascia."""

from __future__ import annotations

import numpy as np

from umlite.phantom.paths import Knots, mirrored
from umlite.phantom.scan_grid import tube
from umlite.phantom.scene import Scene
from umlite.phantom.shapes import spline

_PSOAS: Knots = (
    (24, 0, 20, 6),
    (36, 0, -20, 14),
    (48, 6, -60, 19),
    (60, 14, -110, 23),
    (76, 30, -160, 24),
    (90, 44, -205, 19),
)
_PSOAS += ((104, 30, -250, 15), (108, 10, -280, 12))
_ILIACUS: Knots = ((70, -20, -110, 14), (92, 6, -125, 18), (88, 22, -160, 18), (88, 38, -195, 14))
_BACK: Knots = (
    (30, -54, 330, 16),
    (30, -86, 240, 18),
    (32, -84, 110, 22),
    (35, -68, 20, 26),
    (37, -58, -60, 28),
    (33, -70, -120, 25),
    (26, -84, -165, 15),
)
_HIP: tuple[Knots, ...] = (
    ((44, -92, -128, 18), (72, -86, -170, 30), (96, -74, -215, 36), (106, -60, -262, 34)),
    ((100, -50, -104, 18), (120, -32, -140, 26), (132, -20, -180, 28), (138, -12, -222, 18)),
    ((124, 14, -132, 14), (128, 12, -180, 18), (132, 6, -216, 14)),
    ((130, 48, -150, 11), (136, 48, -200, 16), (140, 36, -262, 17)),
    ((104, 54, -212, 13), (112, 52, -262, 20), (114, 50, -290, 22)),
    ((34, 50, -246, 12), (58, 40, -270, 22), (66, 36, -290, 25)),
    ((78, -36, -258, 17), (84, -40, -290, 24)),
    ((26, -50, -176, 9), (60, -44, -196, 11), (100, -24, -222, 10)),
)
"""Gluteus maximus, medius, minimus, tensor of the fascia, rectus femoris, adductors, hamstrings, piriformis."""
_FASCIA_MM, _FASCIA_HU = 1.8, -70.0
_MARBLING_HU = (3.0, 28.0)
"""How far fat between the fibres lowers a muscle, fit to frail."""


def draw_muscles(scene: Scene) -> None:
    """Paint the deep muscles and keep organs out of them."""
    marbling = scene.rng("marbling").uniform(*_MARBLING_HU)
    for knots in (*_HIP, _BACK, _PSOAS, _ILIACUS):
        for side in (1, -1):
            field = tube(scene.grid, [spline(mirrored(knots, side), 16)])
            if not field.size:
                continue
            scene.roughen(f"muscle {side} {knots[0]}", field, 14, 1.5)
            np.maximum(field.distance, scene.frame[field.box] + np.float32(3), out=field.distance)
            field.distance -= np.float32(_FASCIA_MM)
            scene.paint(field, _FASCIA_HU)
            field.distance += np.float32(_FASCIA_MM)
            streaks = np.maximum(scene.noise("fibres", field.box, 3.5), 0)
            scene.paint(field, scene.tissue["muscle"] - np.float32(marbling) * streaks)
            scene.take(field)
