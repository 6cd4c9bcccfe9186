"""What other tools call the published classes, one table for what is written and what is read. Pure data.

AbdomenAtlas: names of masks in AbdomenAtlas 1.1, and of lesions in AbdomenAtlas 3.0. TotalSegmentator: names of its
tasks `total` and `liver_vessels`. A structure that another tool cuts differently does not get its name there:
TotalSegmentator's femur_left is the whole bone.
"""

from __future__ import annotations

from collections.abc import Sequence

from umlite.classes import AnatomyClass

OWN = "umlite"

NAMES: dict[str, dict[str, str]] = {
    OWN: {},
    "abdomenatlas": {
        "right_kidney": "kidney_right",
        "left_kidney": "kidney_left",
        "gallbladder": "gall_bladder",
        "right_adrenal_gland": "adrenal_gland_right",
        "left_adrenal_gland": "adrenal_gland_left",
        "right_lung": "lung_right",
        "left_lung": "lung_left",
        "right_head_of_femur": "femur_right",
        "left_head_of_femur": "femur_left",
        "kidney_tumor": "kidney_lesion",
        "liver_tumor": "liver_lesion",
        "pancreas_tumor": "pancreatic_lesion",
        "colon_tumor": "colon_lesion",
    },
    "totalsegmentator": {
        "right_kidney": "kidney_right",
        "left_kidney": "kidney_left",
        "postcava": "inferior_vena_cava",
        "right_adrenal_gland": "adrenal_gland_right",
        "left_adrenal_gland": "adrenal_gland_left",
        "hepatic_vessel": "liver_vessels",
        "intestine": "small_bowel",
        "bladder": "urinary_bladder",
    },
}
"""By tool: canonical name -> its name there. A class without one keeps its own."""

FURTHER = {"pancreas_lesion": "pancreas_tumor", "lung_lesion": "lung_tumor"}
"""Spellings that are read and never written -> canonical name."""


def names_of(classes: Sequence[AnatomyClass], tool: str) -> dict[str, str]:
    """Canonical name -> name to write, all different: one that another class has already is not given.

    tool: a key of `NAMES`.
    """
    taken = {c.name for c in classes}
    elsewhere = {name: other for name, other in NAMES[tool].items() if other not in taken}
    return {c.name: elsewhere.get(c.name, c.name) for c in classes}


def canonical_names() -> dict[str, str]:
    """Every name of the tables -> canonical name."""
    return FURTHER | {other: name for table in NAMES.values() for name, other in table.items()}
