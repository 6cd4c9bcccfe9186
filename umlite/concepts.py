"""What the published classes are in SNOMED CT. Pure data.

Codes as DICOM lists them. The celiac trunk, 57850000 ("Truncus coeliacus"), is from context group 7151 in the
dictionary of pydicom 3.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from umlite.classes import AnatomyClass


@dataclass(frozen=True)
class Code:
    """A code with its English name. scheme: SCT for SNOMED CT."""

    value: str
    meaning: str
    scheme: str = "SCT"


@dataclass(frozen=True)
class Concept:
    """A structure or an abnormality, its side, and the region that it lies in."""

    type: Code
    side: Literal["", "left", "right"] = ""
    region: Code | None = None


STRUCTURE = Code("91723000", "Anatomical structure")
ABNORMALITY = Code("49755003", "Morphologically abnormal structure")
SIDES = {"left": Code("7771000", "Left"), "right": Code("24028007", "Right")}
OWN_SCHEME = "99UMLITE"
"""Private scheme of classes outside the published table: their names are their codes."""

_KIDNEY = Code("64033007", "Kidney")
_LIVER = Code("10200004", "Liver")
_PANCREAS = Code("15776009", "Pancreas")
_ADRENAL_GLAND = Code("23451007", "Adrenal gland")
_LUNG = Code("39607008", "Lung")
_COLON = Code("71854001", "Colon")
_HEAD_OF_FEMUR = Code("2812003", "Head of femur")
_NEOPLASM = Code("108369006", "Neoplasm")

CONCEPTS: dict[str, Concept] = {
    "spleen": Concept(Code("78961009", "Spleen")),
    "right_kidney": Concept(_KIDNEY, "right"),
    "left_kidney": Concept(_KIDNEY, "left"),
    "gallbladder": Concept(Code("28231008", "Gallbladder")),
    "esophagus": Concept(Code("32849002", "Esophagus")),
    "liver": Concept(_LIVER),
    "stomach": Concept(Code("69695003", "Stomach")),
    "aorta": Concept(Code("15825003", "Aorta")),
    "postcava": Concept(Code("64131007", "Inferior vena cava")),
    "portal_vein_and_splenic_vein": Concept(Code("110765007", "Portal and splenic vein")),
    "pancreas": Concept(_PANCREAS),
    "right_adrenal_gland": Concept(_ADRENAL_GLAND, "right"),
    "left_adrenal_gland": Concept(_ADRENAL_GLAND, "left"),
    "duodenum": Concept(Code("38848004", "Duodenum")),
    "hepatic_vessel": Concept(Code("59820001", "Blood vessel"), region=_LIVER),
    "right_lung": Concept(_LUNG, "right"),
    "left_lung": Concept(_LUNG, "left"),
    "colon": Concept(_COLON),
    "intestine": Concept(Code("30315005", "Small intestine")),
    "rectum": Concept(Code("34402009", "Rectum")),
    "bladder": Concept(Code("89837001", "Urinary bladder")),
    "prostate": Concept(Code("41216001", "Prostate")),
    "left_head_of_femur": Concept(_HEAD_OF_FEMUR, "left"),
    "right_head_of_femur": Concept(_HEAD_OF_FEMUR, "right"),
    "celiac_trunk": Concept(Code("57850000", "Celiac trunk")),
    "kidney_tumor": Concept(_NEOPLASM, region=_KIDNEY),
    "liver_tumor": Concept(_NEOPLASM, region=_LIVER),
    "pancreas_tumor": Concept(_NEOPLASM, region=_PANCREAS),
    "hepatic_vessel_tumor": Concept(_NEOPLASM, region=_LIVER),
    "lung_tumor": Concept(_NEOPLASM, region=_LUNG),
    "colon_tumor": Concept(_NEOPLASM, region=_COLON),
    "kidney_cyst": Concept(Code("367643001", "Cyst"), region=_KIDNEY),
}
"""By canonical name. Class 22 is the prostate or the uterus in the training data: its code says prostate."""


def concept_of(c: AnatomyClass) -> Concept:
    """What a class is; a private code for one outside the published table."""
    return CONCEPTS.get(c.name) or Concept(Code(c.name, c.name, OWN_SCHEME))


def category_of(c: AnatomyClass) -> Code:
    """Abnormality for a lesion, structure for all else."""
    return ABNORMALITY if c.kind == "tumor" else STRUCTURE
