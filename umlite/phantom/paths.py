"""The course of every tube: knots (x, y, z, radius) in mm of body coordinates, varied for each phantom."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from umlite.phantom.noise import stream
from umlite.phantom.spec import PhantomSpec

Knots = tuple[tuple[float, float, float, float], ...]
"""Points (x, y, z, radius) of a tube's axis."""

PATHS: dict[str, Knots] = {
    "aorta": (
        (2, 40, 158, 16),
        (20, 42, 190, 16),
        (11, 33, 228, 15),
        (-13, 14, 246, 14),
        (-26, -14, 236, 13),
        (-25, -28, 205, 12.5),
        (-24, -25, 150, 12),
        (-18, -8, 100, 12),
        (-13, 9, 55, 11.5),
        (-12, 21, 15, 11),
        (-11, 31, -30, 10),
        (-6, 41, -84, 9.5),
    ),
    "right_iliac_artery": ((-4, 42, -84, 6.5), (22, 36, -118, 5.5), (44, 10, -160, 5), (66, 30, -205, 4.8)),
    "left_iliac_artery": ((-8, 42, -84, 6.5), (-34, 36, -118, 5.5), (-52, 10, -160, 5), (-68, 30, -205, 4.8)),
    "right_femoral_artery": ((66, 30, -205, 4.8), (78, 58, -232, 4.6), (84, 62, -285, 4.4)),
    "left_femoral_artery": ((-68, 30, -205, 4.8), (-78, 58, -232, 4.6), (-84, 62, -285, 4.4)),
    "postcava": (
        (14, 34, -98, 9.5),
        (16, 30, -50, 10),
        (21, 26, -5, 10.5),
        (25, 17, 35, 11),
        (27, 10, 70, 12),
        (25, 22, 100, 12.5),
        (28, 32, 120, 12.5),
    ),
    "right_iliac_vein": ((16, 32, -98, 8), (34, 22, -125, 7.5), (48, -2, -162, 6.5), (60, 20, -205, 6.5)),
    "left_iliac_vein": ((12, 32, -98, 8), (-20, 22, -120, 7.5), (-46, -2, -162, 6.5), (-60, 20, -205, 6.5)),
    "right_femoral_vein": ((60, 20, -205, 6.5), (68, 54, -232, 6), (74, 54, -285, 5.5)),
    "left_femoral_vein": ((-60, 20, -205, 6.5), (-68, 54, -232, 6), (-74, 54, -285, 5.5)),
    "right_renal_vein": ((22, 25, -8, 5.5), (38, 12, -14, 5), (56, 0, -18, 4.5)),
    "left_renal_vein": ((20, 27, -2, 5.5), (-11, 36, -2, 4.2), (-34, 20, -4, 5), (-55, 0, -8, 4.5)),
    "right_renal_artery": ((-10, 22, -2, 3.2), (14, 12, -8, 3), (40, 2, -16, 2.8), (56, -4, -18, 2.5)),
    "left_renal_artery": ((-13, 22, -2, 3.2), (-32, 8, -6, 3), (-55, -5, -8, 2.6)),
    "portal_vein": ((10, 50, 2, 6.5), (20, 48, 18, 7), (34, 44, 32, 7), (46, 40, 40, 6.5)),
    "splenic_vein": ((10, 50, 2, 5.5), (-18, 46, 10, 5), (-48, 26, 20, 4.8), (-72, 6, 28, 4.5), (-88, -6, 32, 4)),
    "mesenteric_vein": ((10, 50, 2, 5.5), (11, 56, -22, 5.5), (8, 66, -60, 5), (14, 64, -95, 3.5)),
    "celiac_trunk": ((-11, 30, 19, 4.2), (-9, 39, 24, 4), (-8, 45, 27, 3.6)),
    "hepatic_artery": ((-8, 45, 27, 3.4), (10, 56, 22, 2.8), (28, 54, 28, 2.6), (44, 48, 40, 2.2)),
    "splenic_artery": ((-8, 45, 27, 3.4), (-26, 38, 34, 2.8), (-50, 22, 30, 2.8), (-78, 0, 38, 2.4)),
    "mesenteric_artery": ((-10, 30, 8, 4.2), (-5, 44, 0, 3.8), (-2, 54, -22, 3.5), (-2, 62, -62, 3), (8, 60, -95, 2)),
    "superior_cava": ((30, 30, 150, 9), (27, 32, 200, 9), (24, 22, 245, 8.5), (34, 14, 290, 7)),
    "left_brachiocephalic_vein": ((25, 26, 240, 8), (0, 30, 256, 7), (-36, 14, 290, 7)),
    "pulmonary_trunk": ((-14, 62, 158, 14), (-20, 46, 182, 14), (-12, 20, 194, 12), (18, 12, 188, 10), (44, 4, 178, 8)),
    "left_pulmonary_artery": ((-20, 40, 188, 12), (-32, 14, 194, 10), (-46, 0, 182, 8)),
    "pancreas": (
        (30, 46, -32, 8.5),
        (30, 50, -14, 13),
        (22, 57, 2, 12.5),
        (8, 64, 10, 9),
        (-12, 60, 18, 10),
        (-38, 44, 27, 11),
        (-62, 22, 34, 10.5),
        (-84, 4, 38, 7.5),
    ),
    "duodenum": (
        (38, 74, 14, 10),
        (52, 62, 12, 12),
        (58, 48, -4, 11.5),
        (56, 44, -32, 12),
        (44, 46, -58, 12),
        (20, 54, -66, 11),
        (-8, 57, -62, 11),
        (-28, 50, -44, 11),
        (-36, 50, -28, 11),
    ),
    "esophagus": (
        (0, 0, 335, 7),
        (-2, -8, 260, 7),
        (1, -20, 215, 7.5),
        (-2, -16, 160, 8),
        (-6, 4, 110, 8),
        (-16, 22, 84, 8.5),
        (-32, 32, 72, 9),
    ),
    "stomach": (
        (-68, 6, 86, 31),
        (-68, 24, 66, 36),
        (-66, 56, 36, 33),
        (-52, 78, 10, 28),
        (-24, 90, -8, 23),
        (6, 90, -6, 18),
        (26, 82, 6, 12),
        (36, 76, 12, 8),
    ),
    "gallbladder": ((46, 46, 14, 4), (52, 54, 4, 9), (60, 66, -8, 14), (66, 78, -20, 15), (69, 84, -27, 10)),
    "colon": (
        (92, 34, -150, 20),
        (96, 24, -130, 25),
        (106, 12, -95, 25),
        (110, 6, -60, 24),
        (108, 18, -28, 22),
        (92, 52, -28, 20),
        (58, 84, -46, 20),
        (20, 96, -62, 20),
        (-25, 97, -58, 19),
        (-66, 84, -34, 19),
        (-96, 58, -4, 19),
        (-112, 26, 22, 20),
        (-116, -4, 14, 18),
        (-118, -14, -25, 16),
        (-117, -4, -75, 16),
        (-108, 18, -115, 16),
        (-88, 40, -145, 16),
        (-56, 48, -168, 16),
        (-22, 62, -150, 17),
        (12, 50, -140, 17),
        (26, 18, -158, 16),
        (8, -18, -174, 16),
        (0, -42, -188, 16),
    ),
    "rectum": (
        (0, -42, -188, 16),
        (-3, -56, -206, 20),
        (0, -58, -226, 21),
        (0, -46, -246, 15),
        (0, -36, -258, 10),
        (0, -42, -275, 9),
    ),
    "trachea": ((0, 12, 335, 9), (4, 5, 270, 9), (6, -3, 216, 9)),
    "right_bronchus": ((3, -4, 218, 7), (22, -6, 200, 6.5), (42, -6, 182, 5), (60, -8, 160, 3.5)),
    "left_bronchus": ((1, -4, 218, 6.5), (-24, -6, 197, 6), (-48, -8, 178, 5), (-64, -10, 158, 3.5)),
    "uterus": ((0, -20, -230, 12), (0, -13, -212, 15), (2, 2, -192, 21), (4, 18, -176, 22)),
}

_JITTER_MM = {"colon": 7.0, "stomach": 5.0, "gallbladder": 4.0, "pancreas": 3.0, "duodenum": 3.0, "uterus": 4.0}
_RADIUS_SPREAD = {"gallbladder": 0.13, "pancreas": 0.12, "colon": 0.14, "aorta": 0.1, "postcava": 0.1, "uterus": 0.12}
_TRANSVERSE = slice(6, 10)


def mirrored(knots: Knots, side: int) -> NDArray[np.float64]:
    """Knots given for the patient's right, on the right (side 1) or the left (-1)."""
    return np.asarray(knots, np.float64) * (side, 1, 1, 1)


def lay_paths(spec: PhantomSpec) -> dict[str, NDArray[np.float64]]:
    """The knots [K, 4] of every tube of this phantom: both ends fixed, the rest and the radii varied."""
    paths = {}
    for name, knots in PATHS.items():
        rng = stream(spec.seed, f"path {name}")
        path = np.array(knots, np.float64)
        path[1:-1, :3] += rng.normal(0, _JITTER_MM.get(name, 1.2), (len(path) - 2, 3))
        path[:, 3] *= np.exp(np.clip(rng.normal(0, _RADIUS_SPREAD.get(name, 0.06)), -0.3, 0.3))
        paths[name] = path
    rng = stream(spec.seed, "ptosis")
    belly = 34 * spec.visceral_fat
    colon = paths["colon"]
    colon[_TRANSVERSE, 2] -= abs(rng.normal(0, 22)) * np.array([0.6, 1, 1, 0.5])
    colon[_TRANSVERSE, 1] += 0.7 * belly
    colon[:, 3] *= np.exp(np.convolve(rng.normal(0, 0.35, len(colon) + 2), np.ones(3) / 3, mode="valid"))
    paths["stomach"][2:-1, 1] += 0.25 * belly
    paths["stomach"][:-1, 3] *= spec.stomach_fill
    paths["stomach"][-1, 3] = 8.0
    lower = -spec.breath_mm * 0.6
    for name, share in (("stomach", (1.0, 1.0, 0.6, 0.3)), ("gallbladder", (0.5,) * 5)):
        paths[name][: len(share), 2] += lower * np.array(share)
    return paths
