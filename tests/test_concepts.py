from __future__ import annotations

import pytest

from umlite.class_table import ClassTable
from umlite.classes import PUBLISHED
from umlite.concepts import ABNORMALITY, CONCEPTS, SIDES, STRUCTURE, Code, category_of, concept_of


def test_every_published_class_has_a_concept_on_its_own_side() -> None:
    assert list(CONCEPTS) == [c.name for c in PUBLISHED]
    for c in PUBLISHED:
        side = next((side for side in SIDES if c.name.startswith(f"{side}_")), "")
        assert concept_of(c).side == side
        assert category_of(c) == (ABNORMALITY if c.kind == "tumor" else STRUCTURE)


def test_lesions_lie_in_the_region_of_their_hosts() -> None:
    for c in PUBLISHED:
        for host in c.hosts:
            assert concept_of(c).region == CONCEPTS[host].type


def test_no_two_classes_mean_the_same_but_liver_tumors() -> None:
    meanings: dict[object, list[str]] = {}
    for name, concept in CONCEPTS.items():
        meanings.setdefault(concept, []).append(name)
    assert [names for names in meanings.values() if len(names) > 1] == [["liver_tumor", "hepatic_vessel_tumor"]]


def test_codes_are_those_of_dicoms_dictionary() -> None:
    concepts = pytest.importorskip("pydicom.sr._concepts_dict").concepts["SCT"]
    listed: dict[str, set[str]] = {}
    for entries in concepts.values():
        for value, (meaning, _groups) in entries.items():
            listed.setdefault(value, set()).add(meaning.lower())
    other = {"57850000": "truncus coeliacus", "89837001": "bladder"}  # the dictionary's names for these
    for code in {STRUCTURE, ABNORMALITY, *SIDES.values(), *(c.type for c in CONCEPTS.values())}:
        if code.value != "110765007":  # SNOMED CT has it, DICOM's context groups do not
            assert other.get(code.value, code.meaning.lower()) in listed[code.value]


def test_a_class_of_ones_own_has_a_private_code() -> None:
    own = ClassTable(["liver", "thymus"]).resolve("thymus")[0]
    assert concept_of(own).type == Code("thymus", "thymus", "99UMLITE")
