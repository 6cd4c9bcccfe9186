"""Checks find what was done to a body of ellipsoids, and nothing in one that is well."""

from __future__ import annotations

import json
from collections.abc import Callable

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from support.body import AFFINE, NATIVE, PORTAL, SHAPE, STEP_MM, body_hu, body_masks
from support.segmentations import segmentation_of
from umlite.findings import CHECKS, Finding, find
from umlite.results.segmentation import Segmentation
from umlite.results.statistics import statistics

Masks = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def masks() -> Masks:
    return body_masks()


def findings(masks: Masks, hu: np.ndarray, affine: np.ndarray = AFFINE, **kept: float) -> dict[str, list[Finding]]:
    """Findings of a segmentation by code."""
    result = segmentation_of(masks, hu, affine)
    result = Segmentation(**{**vars(result), "kept_shares": kept})
    found: dict[str, list[Finding]] = {}
    for finding in find(result, statistics(result)):
        found.setdefault(finding.code, []).append(finding)
    json.dumps([f.to_dict() for some in found.values() for f in some], allow_nan=False)
    return found


def warnings(found: dict[str, list[Finding]]) -> set[str]:
    return {code for code, some in found.items() if some[0].level == "warning"}


@pytest.mark.parametrize("values", [NATIVE, PORTAL], ids=["native", "portal"])
def test_a_body_that_is_well(masks: Masks, values: dict[str, int]) -> None:
    found = findings(masks, body_hu(masks, values))
    assert warnings(found) == set(), found
    (phase,) = found["contrast-phase"]
    assert phase.evidence["phase"] == ("native" if values is NATIVE else "portal venous")


@pytest.mark.parametrize(
    ("axis", "code"), list(enumerate(["sides-swapped", "front-back-swapped", "head-feet-swapped"]))
)
def test_a_body_the_wrong_way_round(masks: Masks, axis: int, code: str) -> None:
    hu = np.flip(body_hu(masks, NATIVE), axis)
    found = findings({name: np.flip(mask, axis) for name, mask in masks.items()}, hu)
    turned = {"sides-swapped", "front-back-swapped", "head-feet-swapped"}
    assert warnings(found) & turned == {code}
    assert found[code][0].evidence["slope"] == pytest.approx(-1, abs=0.25)


@pytest.mark.parametrize("axes", ["LPS", "ASR", "PIR", "SPL"])
def test_the_order_in_which_voxels_are_stored_changes_nothing(masks: Masks, axes: str) -> None:
    turn = ornt_transform(io_orientation(AFFINE), axcodes2ornt(tuple(axes)))

    def turned(array: np.ndarray) -> nib.Nifti1Image:
        return nib.Nifti1Image(array, AFFINE, dtype=np.int16).as_reoriented(turn)

    hu = turned(body_hu(masks, PORTAL))
    stored = {name: np.asarray(turned(mask.astype(np.int16)).dataobj) > 0 for name, mask in masks.items()}
    found = findings(stored, np.asarray(hu.dataobj), hu.affine)
    upright = findings(masks, body_hu(masks, PORTAL))
    assert {c: [f.sentence for f in some] for c, some in found.items()} == {
        c: [f.sentence for f in some] for c, some in upright.items()
    }


@pytest.mark.parametrize(("axis", "factor"), [(2, 2.0), (2, 0.5), (1, 1.7)])
def test_a_wrong_spacing(masks: Masks, axis: int, factor: float) -> None:
    affine = AFFINE.copy()
    affine[axis, axis] *= factor
    found = findings(masks, body_hu(masks, NATIVE), affine)
    assert [f.evidence["axis"] for f in found["body-size"]] == ["xyz"[axis]]


def test_organs_of_a_pair_on_the_wrong_sides(masks: Masks) -> None:
    swapped = masks | {"right_kidney": masks["left_kidney"], "left_kidney": masks["right_kidney"]}
    found = findings(swapped, body_hu(masks, NATIVE))
    assert [f.classes for f in found["pair-swapped"]] == [("right_kidney", "left_kidney")]
    assert "sides-swapped" not in found


def test_organs_that_the_scan_cuts_or_does_not_show(masks: Masks) -> None:
    top = round((20 + 290) / STEP_MM)  # between the kidneys and the lungs
    hu, some = body_hu(masks, NATIVE)[:, :, :top], {name: mask[:, :, :top] for name, mask in masks.items()}
    found = findings(some, hu)
    assert {"liver", "stomach", "spleen"} <= set(found["cut"][0].classes)
    assert found["cut"][0].evidence["faces"]["liver"] == ["superior"]
    assert set(found["absent-out-of-view"][0].classes) >= {"right_lung", "left_lung"}
    assert warnings(found) <= {"volume-implausible"}


def test_organs_that_are_not_found_although_in_view(masks: Masks) -> None:
    gone = np.zeros(SHAPE, bool)
    found = findings(masks | {"spleen": gone, "bladder": gone}, body_hu(masks, NATIVE))
    assert set(found["absent-in-view"][0].classes) == {"spleen", "bladder"}


def shifted(masks: Masks, name: str, mm: tuple[float, float, float]) -> np.ndarray:
    return np.roll(masks[name], [round(m / STEP_MM) for m in mm], (0, 1, 2))


DAMAGE: dict[str, tuple[str, Callable[[Masks], Masks]]] = {
    "a second piece": ("in-pieces", lambda m: {"spleen": m["spleen"] | shifted(m, "spleen", (0, -24, 150))}),
    "on another organ": ("overlap", lambda m: {"stomach": m["stomach"] | m["spleen"]}),
    "a part of a liver": (
        "volume-implausible",
        lambda m: {"liver": m["liver"] & (np.arange(SHAPE[0]) > 47)[:, None, None]},
    ),
    "in the lung": ("hu-implausible", lambda m: {"spleen": shifted(m, "spleen", (60, 0, 150))}),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_masks(masks: Masks, what: str) -> None:
    code, damage = DAMAGE[what]
    found = findings(masks | damage(masks), body_hu(masks, NATIVE))
    assert code in found, found
    assert found[code][0].evidence


def test_predictions_in_pieces(masks: Masks) -> None:
    found = findings(masks, body_hu(masks, NATIVE), colon=0.5, liver=0.97)
    assert found["predicted-in-pieces"][0].evidence == {"kept_share": {"colon": 0.5}}


def test_lesions_away_from_their_organ(masks: Masks) -> None:
    hu = body_hu(masks, NATIVE)
    inside, outside = shifted(masks, "right_adrenal_gland", (48, 24, 0)), shifted(masks, "bladder", (0, 0, 30))
    assert "lesion-outside" not in findings(masks | {"liver_tumor": inside}, hu)
    (found,) = findings(masks | {"liver_tumor": inside | outside}, hu)["lesion-outside"]
    assert found.evidence["lesion"] == "liver_tumor_1"
    assert found.evidence["distance_mm"] > 100
    unknown = findings(masks | {"colon_tumor": outside}, hu, colon=0.5)
    assert "lesion-outside" not in unknown
    assert "colon_tumor_1" in unknown["not-judged"][0].sentence


@pytest.mark.parametrize(
    ("aorta", "portal", "phase"),
    [(40, 40, "native"), (300, 90, "arterial"), (150, 160, "portal venous"), (100, 95, "late")],
)
def test_contrast_phases(masks: Masks, aorta: int, portal: int, phase: str) -> None:
    values = NATIVE | {"aorta": aorta, "portal_vein_and_splenic_vein": portal, "liver": 70}
    (found,) = findings(masks, body_hu(masks, values))["contrast-phase"]
    assert found.evidence["phase"] == phase
    assert found.evidence["median_hu"]["aorta"] == pytest.approx(aorta, abs=3)


def test_noise(masks: Masks) -> None:
    found = findings(masks, body_hu(masks, PORTAL, noise_hu=50))
    assert found["noise"][0].evidence["sd_hu"] == pytest.approx(50, rel=0.1)


def test_what_was_unusual_about_the_scan_is_told_once(masks: Masks) -> None:
    found = findings(masks, body_hu(masks, NATIVE) + np.int16(1024))
    assert "offset-lost" in warnings(found)
    assert len(found["offset-lost"]) == 1


@pytest.mark.parametrize("names", [("liver",), ("aorta",), ("kidney_cyst", "right_kidney"), ("rectum",)])
def test_what_few_classes_do_not_tell_is_said(masks: Masks, names: tuple[str, ...]) -> None:
    some = {name: masks.get(name, np.zeros(SHAPE, bool)) for name in names}
    found = findings(some, body_hu(masks, NATIVE))
    assert warnings(found) == set()
    assert "left and right" in found["not-judged"][0].sentence


def test_codes_are_unique_and_have_reasons() -> None:
    assert len({check.code for check in CHECKS}) == len(CHECKS)
    assert all(check.threshold and check.reason for check in CHECKS)
