"""Concepts of classes as DICOM codes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from umlite.classes import AnatomyClass
from umlite.concepts import CONCEPTS, OWN_SCHEME, SIDES, Code, category_of, concept_of
from umlite.products.dicom.identity import MAKER, Maker

MEAN = Code("373098007", "Mean")
LONG_AXIS, SHORT_AXIS = Code("103339001", "Long axis"), Code("103340004", "Short axis")
VOLUME = Code("118565006", "Volume")
ATTENUATION = Code("112031", "Attenuation Coefficient", "DCM")
VOXEL_SUM = Code("126030", "Sum of segmented voxel volumes", "DCM")
CT = Code("77477000", "Computed tomography")
ML, MM, HU = Code("ml", "ml", "UCUM"), Code("mm", "mm", "UCUM"), Code("[hnsf'U]", "Hounsfield unit", "UCUM")
ARTIFICIAL_INTELLIGENCE = Code("123110", "Artificial Intelligence", "DCM")
DEVICE = Code("121007", "Device", "DCM")
SEGMENTATION = Code("113076", "Segmentation", "DCM")
SOURCE_IMAGE = Code("121322", "Source image for image processing operation", "DCM")
OF_INTEREST = Code("113000", "Of Interest", "DCM")

REMARKS = {"prostate": "Prostate or uterus: trained as one class"}
"""What segments of classes say beyond their codes."""


def coded(code: Code) -> Any:
    """A code as highdicom takes it."""
    from highdicom.sr.coding import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning)


def own_schemes(classes: Iterable[AnatomyClass]) -> list[Any] | None:
    """What explains the private codes of classes; None where there are none."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    if all(c.name in CONCEPTS for c in classes):
        return None
    name = "Names of classes outside umlite's table"
    return [CodingSchemeIdentificationItem(OWN_SCHEME, name=name, responsible_organization=MAKER)]


def algorithm(maker: Maker) -> Any:
    """The algorithm identification of segments."""
    from highdicom import AlgorithmIdentificationSequence

    from umlite import __version__

    return AlgorithmIdentificationSequence(
        name="Universal Model",
        family=coded(ARTIFICIAL_INTELLIGENCE),
        version=__version__,
        source=MAKER,
        parameters=maker.parameters,
    )


def segment_description(c: AnatomyClass, number: int, maker: Maker, tracking_uid: str) -> Any:
    """What a SEG says of a class."""
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription

    concept = concept_of(c)
    described = SegmentDescription(
        segment_number=number,
        segment_label=c.published,
        segmented_property_category=coded(category_of(c)),
        segmented_property_type=coded(concept.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm(maker),
        tracking_uid=tracking_uid,
        tracking_id=c.name,
        anatomic_regions=[coded(concept.region)] if concept.region else None,
        display_color=CIELabColor.from_rgb(*c.color),
    )
    if c.name in REMARKS:
        described.SegmentDescription = REMARKS[c.name]
    if concept.side:
        kind = described.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [coded(SIDES[concept.side])]
    return described


def site_of(c: AnatomyClass, host: str | None = None) -> tuple[Any, Any]:
    """Where a class lies, and on which side (None without). host: the organ that a lesion lies in."""
    concept = concept_of(c)
    if host in CONCEPTS:
        concept = CONCEPTS[host]
    return coded(concept.region or concept.type), coded(SIDES[concept.side]) if concept.side else None
