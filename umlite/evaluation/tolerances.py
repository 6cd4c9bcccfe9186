"""Tolerances of the normalised surface distance, mm, by class. Those of organs are FLARE's."""

from __future__ import annotations

from umlite.classes import LESION_ENDINGS

DEFAULT_MM = 3.0
LESION_MM = 2.0
TOLERANCES_MM = {
    "liver": 5.0,
    "right_kidney": 3.0,
    "left_kidney": 3.0,
    "spleen": 3.0,
    "pancreas": 5.0,
    "aorta": 2.0,
    "postcava": 2.0,
    "right_adrenal_gland": 2.0,
    "left_adrenal_gland": 2.0,
    "gallbladder": 2.0,
    "esophagus": 3.0,
    "stomach": 5.0,
    "duodenum": 7.0,
}


def tolerance_mm(name: str) -> float:
    """The tolerance of a class, by its canonical name."""
    return LESION_MM if is_lesion(name) else TOLERANCES_MM.get(name, DEFAULT_MM)


def is_lesion(name: str) -> bool:
    """Whether a class's components count one by one, as lesions."""
    return name.endswith(LESION_ENDINGS)
