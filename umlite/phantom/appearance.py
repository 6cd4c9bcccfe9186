"""Hounsfield units of each tissue in each contrast phase."""

from __future__ import annotations

from collections.abc import Sequence

from umlite.phantom.noise import stream
from umlite.phantom.spec import PHASES, LesionSpec, PhantomSpec

TISSUE_HU: dict[str, tuple[float, float, float, float]] = {
    # native, arterial, portal venous, late
    "aorta": (42, 310, 155, 105),
    "lung_artery": (42, 220, 145, 105),
    "upper_cava": (42, 130, 150, 108),
    "lower_cava": (42, 62, 125, 110),
    "portal_vein": (42, 95, 172, 115),
    "hepatic_vein": (42, 62, 165, 112),
    "iliac_vein": (42, 50, 105, 108),
    "liver": (58, 70, 112, 92),
    "spleen": (48, 118, 122, 92),
    "pancreas": (40, 105, 96, 74),
    "renal_cortex": (33, 175, 185, 140),
    "renal_medulla": (31, 62, 160, 140),
    "renal_pelvis": (6, 6, 18, 380),
    "urine": (5, 5, 6, 35),
    "bile": (9, 9, 9, 10),
    "adrenal": (22, 58, 68, 52),
    "bowel_wall": (38, 75, 92, 74),
    "muscle": (50, 54, 59, 59),
    "myocardium": (44, 105, 108, 90),
    "heart_blood": (42, 250, 150, 106),
    "prostate": (38, 58, 84, 80),
    "uterus": (42, 72, 105, 92),
    "esophagus": (36, 48, 60, 58),
    "marrow": (118, 122, 132, 128),
    "disc": (78, 80, 84, 84),
    "cord": (32, 36, 40, 40),
    "fat": (-103, -103, -102, -102),
    "skin": (5, 10, 15, 15),
    "cartilage": (95, 95, 98, 98),
    "cortical_bone": (620, 620, 620, 620),
    "lung": (-850, -845, -843, -845),
    "lung_vessel": (35, 160, 120, 95),
    "air": (-1000, -1000, -1000, -1000),
    "cyst": (6, 6, 8, 10),
    "necrosis": (18, 20, 22, 24),
}

LESION_HU: dict[str, tuple[float, float, float, float]] = {
    # viable tumour less its host: native, arterial, portal venous, late; the sign may change with the phase
    "liver_tumor": (-18, 0, -42, -22),
    "kidney_tumor": (4, -55, -85, -62),
    "pancreas_tumor": (-6, -42, -34, -12),
    "colon_tumor": (4, 12, 8, 12),
}
LUNG_TUMOR_HU = (34, 48, 72, 78)
LEAST_DIFFERENCE_HU = 20.0
"""Between viable tumour and host: many real tumours differ by less, but nobody could find those in a noisy scan."""
_HYPERVASCULAR_HU, _FAINT = 45.0, 0.4

_SPREAD_HU = {"fat": 5, "muscle": 6, "lung": 25, "marrow": 45, "cortical_bone": 80, "air": 0, "cyst": 5, "bile": 6}
_DEFAULT_SPREAD_HU = 4.0


def tissue_hu(spec: PhantomSpec) -> dict[str, float]:
    """This patient's HU by tissue: the phase's table, more or less contrast agent, and a personal spread."""
    phase = list(PHASES).index(spec.phase)
    rng = stream(spec.seed, "tissue")
    values = {}
    for name, row in TISSUE_HU.items():
        enhanced = row[0] + (row[phase] - row[0]) * spec.enhancement
        values[name] = enhanced + rng.normal(0, _SPREAD_HU.get(name, _DEFAULT_SPREAD_HU))
    values["liver"] -= spec.liver_fat_hu
    return values


def viable_tumour_hu(spec: PhantomSpec, lesion: LesionSpec, hosts: Sequence[float]) -> float:
    """HU of the living part of a tumour in this phase, from the HU of its host's tissues, that of its origin first.

    Nearly always darker where contrast agent runs; a hypervascular liver tumour lights up in the arterial phase. Never
    between the tissues of its host, nor closer to them than LEAST_DIFFERENCE_HU and the noise of a voxel.
    """
    if lesion.kind == "liver_tumor" and lesion.contrast > 1.0 and spec.phase == "arterial":
        difference = _HYPERVASCULAR_HU * spec.enhancement
    else:
        difference = LESION_HU[lesion.kind][list(PHASES).index(spec.phase)]
    difference *= lesion.contrast * (_FAINT if lesion.style == "faint" else 1.0)
    least = max(LEAST_DIFFERENCE_HU, spec.noise_hu)
    if difference > 0:
        return max(hosts[0] + difference, max(hosts) + least)
    return min(hosts[0] + difference, min(hosts) - least)
