"""The published classes: everything that the Universal Model segments, with names and rules. Pure data, no torch.

Indices and published names: arXiv 2405.18356. Other tools' names: TotalSegmentator, AbdomenAtlas, SuPreM.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

KINDS = ("organ", "vessel", "tumor")
"""Kinds of classes in the order in which a label map paints them: later kinds cover earlier ones."""
WORD_CLASSES = 64
"""Classes that one integer of a bit mask holds; more classes take more integers a voxel."""


def word_bytes(classes: int) -> tuple[int, ...]:
    """Bytes of each integer that a voxel's mask takes: 64 classes an integer, of 4 bytes for up to 32, else of 8."""
    counts = [min(WORD_CLASSES, classes - first) for first in range(0, max(classes, 1), WORD_CLASSES)]
    return tuple(4 if count <= 32 else 8 for count in counts)


@dataclass(frozen=True)
class Rule:
    """What post-processing keeps of a class.

    Components are 26-connected. Of two equally large ones, the one met first in C order counts as the larger.

    Args:
        kind: "largest" keeps the largest component.
            "above" keeps everything from the lowest slice of the largest component of the class in `needs` upwards.
            "sides" keeps the two largest components of both organs in `needs` together: the one further right becomes
            the first organ, the other one the second.
            "inside" keeps everything inside the host organs in `needs`: the largest components of their union, one per
            host, grown by `umlite.masks.postprocessing.grow_host`.
        needs: canonical names of the classes whose predicted masks the rule reads.
    """

    kind: Literal["largest", "above", "sides", "inside"]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class AnatomyClass:
    """One class of a model.

    Args:
        index: the published number, 1-based; also the voxel value in a label map.
        name: canonical name, used for files, JSON and the command line.
        published: the authors' spelling.
        color: red, green, blue, 0..255.
        kind: "organ", "vessel" (also an organ, drawn over the organ it runs through) or "tumor" (any lesion, also a
            cyst).
        hosts: canonical names of the organs that a lesion lies in.
        aliases: further names accepted on input.
        rule: how post-processing cleans its mask; None leaves it as predicted.
        midline: whether the organ reaches the middle of every body, so that a column of windows through the middle
            shows it. For other organs such a column can show a mistake of the network and miss the organ itself, as it
            did with spleens.
    """

    index: int
    name: str
    published: str
    color: tuple[int, int, int]
    kind: str = "organ"
    hosts: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    rule: Rule | None = None
    midline: bool = False


_LARGEST = Rule("largest")
_SIDES = Rule("sides", ("right_lung", "left_lung"))

PUBLISHED: tuple[AnatomyClass, ...] = (
    AnatomyClass(1, "spleen", "Spleen", (255, 114, 114), rule=_LARGEST),
    AnatomyClass(2, "right_kidney", "Right Kidney", (50, 110, 255), aliases=("kidney_right",), rule=_LARGEST),
    AnatomyClass(3, "left_kidney", "Left Kidney", (185, 255, 89), aliases=("kidney_left",), rule=_LARGEST),
    AnatomyClass(4, "gallbladder", "Gall Bladder", (216, 97, 201), aliases=("gall_bladder",), rule=_LARGEST),
    AnatomyClass(5, "esophagus", "Esophagus", (43, 216, 187), aliases=("oesophagus",), rule=_LARGEST, midline=True),
    AnatomyClass(6, "liver", "Liver", (216, 152, 75), rule=_LARGEST, midline=True),
    AnatomyClass(7, "stomach", "Stomach", (142, 109, 242), rule=_LARGEST),
    AnatomyClass(8, "aorta", "Aorta", (230, 40, 40), "vessel", rule=_LARGEST, midline=True),
    AnatomyClass(
        9,
        "postcava",
        "Postcava",
        (60, 110, 255),
        "vessel",
        aliases=("inferior_vena_cava", "ivc", "vena_cava_inferior"),
        rule=_LARGEST,
        midline=True,
    ),
    AnatomyClass(
        10,
        "portal_vein_and_splenic_vein",
        "Portal Vein and Splenic Vein",
        (90, 190, 255),
        "vessel",
        aliases=("portal_and_splenic_vein", "portal_vein"),
        rule=Rule("above", ("pancreas",)),
    ),
    AnatomyClass(11, "pancreas", "Pancreas", (238, 255, 50), rule=_LARGEST, midline=True),
    AnatomyClass(
        12,
        "right_adrenal_gland",
        "Right Adrenal Gland",
        (220, 89, 255),
        aliases=("adrenal_gland_right", "right_adrenal"),
        rule=_LARGEST,
    ),
    AnatomyClass(
        13,
        "left_adrenal_gland",
        "Left Adrenal Gland",
        (97, 216, 156),
        aliases=("adrenal_gland_left", "left_adrenal"),
        rule=_LARGEST,
    ),
    AnatomyClass(14, "duodenum", "Duodenum", (216, 79, 43), rule=_LARGEST, midline=True),
    AnatomyClass(
        15, "hepatic_vessel", "Hepatic Vessel", (150, 130, 255), "vessel", aliases=("hepatic_vessels", "liver_vessels")
    ),
    AnatomyClass(16, "right_lung", "Right Lung", (159, 242, 109), aliases=("lung_right",), rule=_SIDES),
    AnatomyClass(17, "left_lung", "Left Lung", (242, 48, 178), aliases=("lung_left",), rule=_SIDES),
    AnatomyClass(18, "colon", "Colon", (84, 236, 242), rule=_LARGEST),
    AnatomyClass(
        19, "intestine", "Intestine", (255, 219, 114), aliases=("small_bowel", "small_intestine"), rule=_LARGEST
    ),
    AnatomyClass(20, "rectum", "Rectum", (143, 50, 255), rule=_LARGEST, midline=True),
    AnatomyClass(21, "bladder", "Bladder", (89, 255, 116), aliases=("urinary_bladder",), rule=_LARGEST, midline=True),
    AnatomyClass(
        22,
        "prostate",
        "Prostate",
        (216, 97, 112),
        aliases=("prostate_or_uterus", "uterus", "prostate_uterus"),
        rule=_LARGEST,
        midline=True,
    ),
    AnatomyClass(
        23,
        "left_head_of_femur",
        "Left Head of Femur",
        (43, 116, 216),
        aliases=("left_femoral_head", "left_femur_head", "head_of_femur_left", "femur_left", "left_femur"),
        rule=_LARGEST,
    ),
    AnatomyClass(
        24,
        "right_head_of_femur",
        "Right Head of Femur",
        (176, 216, 75),
        aliases=("right_femoral_head", "right_femur_head", "head_of_femur_right", "femur_right", "right_femur"),
        rule=_LARGEST,
    ),
    AnatomyClass(
        25,
        "celiac_trunk",
        "Celiac Trunk",
        (255, 110, 90),
        "vessel",
        aliases=("celiac_truck", "coeliac_trunk"),
        rule=_LARGEST,
    ),
    AnatomyClass(
        26,
        "kidney_tumor",
        "Kidney Tumor",
        (255, 0, 110),
        "tumor",
        hosts=("right_kidney", "left_kidney"),
        rule=Rule("inside", ("right_kidney", "left_kidney")),
    ),
    AnatomyClass(
        27, "liver_tumor", "Liver Tumor", (255, 235, 0), "tumor", hosts=("liver",), rule=Rule("inside", ("liver",))
    ),
    AnatomyClass(
        28,
        "pancreas_tumor",
        "Pancreas Tumor",
        (130, 255, 0),
        "tumor",
        hosts=("pancreas",),
        aliases=("pancreatic_tumor",),
    ),
    AnatomyClass(
        29,
        "hepatic_vessel_tumor",
        "Hepatic Vessel Tumor",
        (85, 255, 50),
        "tumor",
        hosts=("liver",),
    ),
    AnatomyClass(30, "lung_tumor", "Lung Tumor", (0, 255, 230), "tumor", hosts=("right_lung", "left_lung")),
    AnatomyClass(31, "colon_tumor", "Colon Tumor", (255, 130, 0), "tumor", hosts=("colon",)),
    AnatomyClass(
        32,
        "kidney_cyst",
        "Kidney Cyst",
        (190, 90, 255),
        "tumor",
        hosts=("right_kidney", "left_kidney"),
        aliases=("renal_cyst",),
    ),
)

REPLACED = "@base"
"""Ending of the name of a network's class in whose place an added one answers."""
LESION_ENDINGS = ("_tumor", "_cyst", "_lesion", "_metastasis")
"""Endings of names that mark a class outside the published table as a lesion; other such classes are organs."""

_PAIRS: dict[str, tuple[str, ...]] = {
    "kidneys": ("right_kidney", "left_kidney"),
    "lungs": ("right_lung", "left_lung"),
    "adrenal_glands": ("right_adrenal_gland", "left_adrenal_gland"),
    "heads_of_femur": ("left_head_of_femur", "right_head_of_femur"),
}

GROUPS: dict[str, tuple[str, ...]] = {
    "all": tuple(c.name for c in PUBLISHED),
    "organs": tuple(c.name for c in PUBLISHED if c.kind != "tumor"),
    "tumors": tuple(c.name for c in PUBLISHED if c.kind == "tumor"),
    "vessels": tuple(c.name for c in PUBLISHED if c.kind == "vessel"),
    **_PAIRS,
}
"""Names that stand for several classes. `organs` are all 25, vessels included; `tumors` are all lesions and cysts."""
