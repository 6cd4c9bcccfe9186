"""Metrics of two masks equal MONAI's, surface-distance's and scipy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import surface_distance
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice
from scipy import ndimage

from support.segmentations import blobs, oblique_affine
from umlite.evaluation.agreement import LesionCounts, agreement, count_lesions
from umlite.evaluation.distances import nearest_mm

TOLERANCE_MM = 2.0


def pair(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two masks that agree more or less, and a spacing; every eighth has round numbers, where distances are ties."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(3, 22, 3))
    one = blobs(rng, shape, rng.uniform(0.02, 0.6))
    two = np.roll(one, rng.integers(0, 3, 3), (0, 1, 2)) if seed % 2 else blobs(rng, shape, rng.uniform(0.02, 0.6))
    spacing = rng.choice([0.5, 1.0, 2.0], 3) if seed % 8 == 0 else rng.uniform(0.4, 4, 3)
    return one, two, spacing


@pytest.mark.parametrize("block", range(8))
@pytest.mark.filterwarnings("ignore")
def test_equal_to_monai_and_surface_distance_on_200_pairs(block: int) -> None:
    for seed in range(block * 25, block * 25 + 25):
        predicted, truth, spacing = pair(seed)
        found = agreement("x", predicted, truth, np.diag([*spacing, 1]), TOLERANCE_MM)
        one_hot = [torch.from_numpy(mask)[None, None].float() for mask in (predicted, truth)]
        assert found.dice == pytest.approx(compute_dice(*one_hot).item(), rel=1e-6)
        expected = compute_hausdorff_distance(
            *one_hot, include_background=True, percentile=95, spacing=spacing.tolist()
        ).item()
        assert found.hd95_mm == pytest.approx(expected, rel=1e-5)
        distances = surface_distance.compute_surface_distances(truth, predicted, spacing.tolist())
        expected = surface_distance.compute_surface_dice_at_tolerance(distances, TOLERANCE_MM)
        assert found.nsd == pytest.approx(expected, rel=1e-9), seed
        expected = compute_surface_dice(
            *one_hot, [TOLERANCE_MM], include_background=True, spacing=spacing.tolist(), use_subvoxels=True
        ).item()
        assert found.nsd == pytest.approx(expected, rel=1e-4), seed


@pytest.mark.filterwarnings("ignore")
def test_empty_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("Inf", np.inf), ("NaN", np.nan)):  # surface-distance was written for numpy 1
        monkeypatch.setattr(np, name, value, raising=False)
    mask, nothing = np.zeros((5, 6, 7), bool), np.zeros((5, 6, 7), bool)
    mask[1:3, 2:4, 0:5] = True
    for predicted, truth, dice, nsd, hd95, error in (
        (nothing, nothing, math.nan, math.nan, math.nan, math.nan),
        (mask, nothing, 0, 0, math.inf, math.nan),
        (nothing, mask, 0, 0, math.inf, -100),
    ):
        found = agreement("x", predicted, truth, np.eye(4), TOLERANCE_MM, lesions=True)
        np.testing.assert_equal(
            (found.dice, found.nsd, found.hd95_mm, found.volume_error_percent), (dice, nsd, hd95, error)
        )
        distances = surface_distance.compute_surface_distances(truth, predicted, (1, 1, 1))
        np.testing.assert_equal(surface_distance.compute_surface_dice_at_tolerance(distances, TOLERANCE_MM), nsd)
        np.testing.assert_equal(surface_distance.compute_dice_coefficient(truth, predicted), dice)
        if predicted.any() or truth.any():
            np.testing.assert_equal(surface_distance.compute_robust_hausdorff(distances, 95), hd95)
        one_hot = [torch.from_numpy(m)[None, None].float() for m in (predicted, truth)]
        assert not compute_hausdorff_distance(*one_hot, include_background=True, percentile=95).isfinite()
        assert found.to_dict()["hd95_mm"] is None


def test_oblique_grids_count_as_straight_ones_and_sheared_ones_have_no_distances() -> None:
    rng = np.random.default_rng(0)
    one, two = blobs(rng, (12, 13, 14)), blobs(rng, (12, 13, 14))
    affine = oblique_affine(rng)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    oblique, straight = (agreement("x", one, two, a, 2.0) for a in (affine, np.diag([*spacing, 1])))
    assert oblique.nsd == pytest.approx(straight.nsd)
    assert oblique.hd95_mm == pytest.approx(straight.hd95_mm)
    sheared = agreement("x", one, two, oblique_affine(rng, sheared=True), 2.0)
    assert math.isnan(sheared.nsd)
    assert math.isnan(sheared.hd95_mm)
    assert sheared.dice == straight.dice


@pytest.mark.parametrize("seed", range(20))
def test_distances_equal_scipys_near_and_far(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 70, 3)
    sources, queries = (rng.random(shape) < rng.choice([1e-4, 1e-2, 0.3]) for _ in range(2))
    sources[tuple(rng.integers(0, shape))] = True
    spacing = rng.uniform(0.3, 5, 3)
    expected = ndimage.distance_transform_edt(~sources, sampling=spacing)[queries]
    np.testing.assert_allclose(nearest_mm(queries, sources, spacing.tolist()), expected, rtol=1e-12)


def test_lesions_are_counted_by_overlap() -> None:
    truth, predicted = np.zeros((20, 5, 5), bool), np.zeros((20, 5, 5), bool)
    truth[1:4], truth[6:8, 1:3], truth[12, 0, 0] = True, True, True
    predicted[3:7], predicted[15, 2, 2], predicted[17, 2, 2] = True, True, True
    assert count_lesions(predicted, truth) == LesionCounts(truth=3, found=2, predicted=3, false=2)
    assert count_lesions(truth & False, truth) == LesionCounts(3, 0, 0, 0)
