"""A body of ellipsoids at the usual places of organs: anatomy for checks, in a moment."""

from __future__ import annotations

import numpy as np

from umlite.findings.body import ATLAS

STEP_MM = 6.0
LOW_MM, HIGH_MM = np.array([-180.0, -120.0, -290.0]), np.array([180.0, 150.0, 330.0])
SHAPE = tuple(((HIGH_MM - LOW_MM) / STEP_MM).astype(int))
AFFINE = np.diag([STEP_MM, STEP_MM, STEP_MM, 1.0])
AFFINE[:3, 3] = LOW_MM + np.array([30, -200, 700])

NATIVE = {"right_lung": -850, "left_lung": -850, "gallbladder": 8, "bladder": 5}
PORTAL = {
    "aorta": 150, "postcava": 130, "portal_vein_and_splenic_vein": 160, "hepatic_vessel": 150, "liver": 110,
    "spleen": 120, "right_kidney": 170, "left_kidney": 170, "right_lung": -850, "left_lung": -850,
}  # fmt: skip
_THIN = ("aorta", "postcava", "esophagus", "celiac_trunk", "hepatic_vessel", "portal_vein_and_splenic_vein")


def body_masks() -> dict[str, np.ndarray]:
    """Ellipsoids of the usual volumes, bool [X, Y, Z] by class. Neighbours overlap a little at most."""
    masks: dict[str, np.ndarray] = {}
    taken = np.zeros(SHAPE, bool)
    places = LOW_MM + STEP_MM * np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    for name, place in sorted(ATLAS.items(), key=lambda item: (item[0] not in _THIN, item[1].volume_ml)):
        half = np.array(place.half_mm)
        half = half * (0.55 if name in _THIN else min(1.0, (place.volume_ml / 3.5 * 1000 / half.prod()) ** (1 / 3)))
        inside = (((places - place.centre_mm) / np.maximum(half, STEP_MM)) ** 2).sum(-1) <= 1
        masks[name] = inside & ~taken
        taken |= inside
    return {name: masks[name] for name in ATLAS}


def body_hu(masks: dict[str, np.ndarray], values: dict[str, int], noise_hu: float = 10.0) -> np.ndarray:
    """HU of a body of fat and muscle around these organs, int16."""
    rng = np.random.default_rng(0)
    x, y = (np.linspace(-1, 1, n) for n in SHAPE[:2])
    hu = np.where((x[:, None, None] ** 2 + y[:, None] ** 2) < 0.95, -40.0, -1000.0) * np.ones(SHAPE)
    for name, mask in masks.items():
        hu[mask] = values.get(name, 45)
    return (hu + rng.normal(0, noise_hu, SHAPE)).round().astype(np.int16)
