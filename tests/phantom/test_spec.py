"""Drawn parameters: pure, varied, in bounds. Nothing is rendered here."""

import dataclasses
import json

import pytest

from umlite.phantom import draw_spec
from umlite.phantom.spec import (
    FIELDS_OF_VIEW,
    LESION_MM,
    LESIONS,
    PHASES,
    REMOVABLE,
    STYLES,
    TABLES,
    with_more_lesions,
)

SPECS = [draw_spec(seed) for seed in range(80)]


def test_a_spec_is_a_function_of_its_seed():
    assert draw_spec(7) == SPECS[7]
    assert len({dataclasses.replace(s, seed=0) for s in SPECS}) == len(SPECS)


@pytest.mark.parametrize(
    ("attribute", "choices"),
    [
        ("phase", PHASES),
        ("field_of_view", FIELDS_OF_VIEW),
        ("table", TABLES),
        ("sex", ("female", "male")),
        ("kernel", ("soft", "medium", "sharp")),
        ("oral_contrast", ("none", "water", "positive")),
        ("arms_down", (True, False)),
    ],
)
def test_every_choice_occurs(attribute, choices):
    assert {getattr(s, attribute) for s in SPECS} == set(choices)


def test_organs_are_missing_and_artefacts_present_in_some():
    assert 3 <= sum(bool(s.missing) for s in SPECS) <= 40
    assert {name for s in SPECS for name in s.missing} <= set(REMOVABLE)
    assert 0 < sum(s.metal != "none" for s in SPECS) < 16
    assert 0 < sum(s.streak_hu > 0 for s in SPECS) < 50
    assert 0 < sum(s.ring_hu > 0 for s in SPECS) < 40


def test_lesions_vary_in_number_kind_and_size():
    lesions = [lesion for s in SPECS for lesion in s.lesions]
    assert {len(s.lesions) for s in SPECS} >= {0, 1, 2, 3}
    assert {lesion.kind for lesion in lesions} == set(LESIONS)
    assert {lesion.style for lesion in lesions} == set(STYLES)
    assert all(LESION_MM[0] <= lesion.diameter_mm <= LESION_MM[1] for lesion in lesions)


def test_the_scan_range_is_the_field_of_view_s():
    for s in SPECS:
        low, high, _ = FIELDS_OF_VIEW[s.field_of_view]
        assert abs(s.z_range_mm[0] - low) <= 14
        assert abs(s.z_range_mm[1] - high) <= 14


def test_a_spec_can_be_logged():
    logged = json.loads(json.dumps(dataclasses.asdict(SPECS[0])))
    assert logged["seed"] == 0
    assert logged["phase"] in PHASES


def test_more_lesions_leave_the_patient_alone():
    changed = [with_more_lesions(spec, 3.0) for spec in SPECS]
    assert changed == [with_more_lesions(spec, 3.0) for spec in SPECS]
    for before, after in zip(SPECS, changed, strict=True):
        assert after.lesions[: len(before.lesions)] == before.lesions
        assert dataclasses.replace(after, lesions=before.lesions) == before
    added = sum(len(after.lesions) - len(before.lesions) for before, after in zip(SPECS, changed, strict=True))
    assert 2 * len(SPECS) < added < 4 * len(SPECS)
    assert all(with_more_lesions(spec, 0.0) == spec for spec in SPECS)
