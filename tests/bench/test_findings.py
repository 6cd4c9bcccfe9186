"""The measurement of the checks: faults of a body of ellipsoids are noticed, without a network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.findings import KINDS, cut_by, find_with, told
from bench.findings_faults import MASK_FAULTS, SCAN_FAULTS, Case
from support.body import AFFINE, PORTAL, body_hu, body_masks
from support.segmentations import segmentation_of
from umlite.results.segmentation import Segmentation
from umlite.results.statistics import statistics


@pytest.fixture(scope="module")
def good() -> tuple[Case, Segmentation]:
    masks = body_masks()
    masks["liver_tumor"] = np.zeros_like(masks["liver"])
    hu = body_hu(masks, PORTAL)
    result = segmentation_of(masks, hu, AFFINE)
    return Case("ellipsoids", hu, AFFINE, masks, statistics(result)), result


def test_there_are_many_kinds() -> None:
    assert len(KINDS) >= 20


@pytest.mark.parametrize("kind", MASK_FAULTS)
def test_faults_of_masks_are_noticed(good: tuple[Case, Segmentation], kind: str) -> None:
    case, result = good
    fault = MASK_FAULTS[kind]
    assert fault.fits(case)
    found = find_with(result, case.hu, case.affine, case.masks | fault.change(case))
    assert {code for code, _ in told(found)} & set(fault.codes)


@pytest.mark.parametrize("kind", [kind for kind, fault in SCAN_FAULTS.items() if not fault.again])
def test_faults_of_values_are_noticed(good: tuple[Case, Segmentation], kind: str) -> None:
    case, result = good
    fault = SCAN_FAULTS[kind]
    found = find_with(result, *fault.change(case.hu, case.affine), case.masks)
    assert {code for code, _ in told(found)} & set(fault.codes)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("high", [False, True])
def test_a_cut_scan_ends_in_the_liver(good: tuple[Case, Segmentation], axis: int, high: bool) -> None:
    case, _ = good
    hu, affine, organs = cut_by(case, axis, high)
    assert "liver" in organs
    first = np.flatnonzero(case.masks["liver"].any(axis=tuple(a for a in range(3) if a != axis)))
    assert hu.shape[axis] == (int(first.mean()) + 1 if high else case.hu.shape[axis] - int(first.mean()))
    shift = np.round((affine - case.affine)[axis, 3] / affine[axis, axis])
    assert shift == (0 if high else int(first.mean()))
    assert not cut_by(replace(case, masks={"liver": case.masks["liver"]}), axis, high)[2] - {"liver"}
