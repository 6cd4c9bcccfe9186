"""Surfaces of classes: the logits' own, in mm, only of what post-processing kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from support.fields import assert_closed, balls, result_of_logits, smooth_noise, volume_above_zero
from support.samples import make_scan
from support.segmentations import oblique_affine, segmentation_of
from umlite import Segmenter
from umlite.errors import RequestError
from umlite.products.mesh.class_mesh import class_mesh
from umlite.results.statistics import statistics

AFFINE = np.array([[1.5, 0, 0, -70], [0, 1.5, 0, -60], [0, 0, 2.0, 20], [0, 0, 0, 1]])


@pytest.mark.parametrize("name", ["liver_tumor", "colon"])
def test_the_volume_is_that_of_the_logits(name: str) -> None:
    """Bytes instead of logits, and smooth ones: within 1 % of the interpolated float logits."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        logits = np.pad(smooth_noise(rng, (20, 21, 22), 2.0), 1, constant_values=-4)
        affine = oblique_affine(rng)
        result = result_of_logits({name: logits, "liver": np.full_like(logits, 5)}, affine, [name])
        kept = np.where(result.masks.on_model.mask(name), logits, np.minimum(logits, -logits))
        mesh = class_mesh(result, name)
        assert_closed(mesh)
        assert mesh.volume == pytest.approx(volume_above_zero(kept) * abs(np.linalg.det(affine[:3, :3])), rel=0.01)


@pytest.mark.parametrize("radius", [1.3, 1.9, 2.6, 4.2])
def test_the_volume_of_small_lesions(radius: float) -> None:
    logits = balls((14, 13, 12), (6.3, 6.1, 5.7, radius))
    result = result_of_logits({"liver_tumor": logits, "liver": np.full_like(logits, 5)}, np.eye(4), ["liver_tumor"])
    mesh = class_mesh(result, "liver_tumor")
    assert_closed(mesh)
    assert mesh.volume == pytest.approx(volume_above_zero(logits), rel=0.01)


def test_places_are_the_scans() -> None:
    result = result_of_logits({"colon": balls((40, 36, 30), (20.2, 17.1, 15.4, 10.3))}, AFFINE)
    mesh = class_mesh(result, "colon")
    found = trimesh.Trimesh(mesh.points, mesh.triangles).center_mass
    np.testing.assert_allclose(found, AFFINE[:3, :3] @ (20.2, 17.1, 15.4) + AFFINE[:3, 3], atol=0.05)
    np.testing.assert_allclose(found, statistics(result).classes[0].centroid_mm, atol=0.1)


def test_what_post_processing_removed_has_no_surface() -> None:
    logits = balls((40, 30, 30), (12, 15, 15, 8), (30, 15, 15, 5))
    mesh = class_mesh(result_of_logits({"spleen": logits}, np.eye(4)), "spleen")
    alone = class_mesh(result_of_logits({"spleen": balls((40, 30, 30), (12, 15, 15, 8))}, np.eye(4)), "spleen")
    assert_closed(mesh)
    assert mesh.volume == pytest.approx(alone.volume, rel=1e-3)
    assert mesh.points[:, 0].max() < 21


def test_organs_that_were_shared_out_by_side_keep_their_surface() -> None:
    """A network that calls parts of both lungs left: the surface follows the logits of both."""
    both = balls((50, 30, 30), (12, 15, 15, 8), (36, 15, 15, 8))
    left, right = both.copy(), both.copy()
    right[:24, :, :15] = -5
    left[:24, :, 15:] = -5
    left[25:] = right[25:] = -5
    left[25:], right[:2] = both[25:], -5
    result = result_of_logits({"right_lung": right, "left_lung": left}, np.eye(4))
    for name in ("right_lung", "left_lung"):
        mesh = class_mesh(result, name)
        assert_closed(mesh)
        assert mesh.volume == pytest.approx(4 / 3 * np.pi * 8**3, rel=0.01)


def test_a_class_is_closed_where_the_scan_ends() -> None:
    logits = balls((20, 30, 30), (0, 15, 15, 10))
    mesh = class_mesh(result_of_logits({"colon": logits}, np.diag([2.0, 1, 1, 1])), "colon")
    assert_closed(mesh)
    assert mesh.points[:, 0].min() == pytest.approx(-1, abs=0.005)  # half a voxel beyond the first centre
    assert mesh.volume == pytest.approx(2 * (2 / 3 * np.pi * 10**3 + 0.5 * np.pi * 10**2), rel=0.02)
    everywhere = class_mesh(result_of_logits({"colon": np.full((4, 5, 6), 3, np.float32)}, np.eye(4)), "colon")
    assert_closed(everywhere)
    ends = [everywhere.points.min(0), everywhere.points.max(0)]
    np.testing.assert_allclose(ends, [[-0.5] * 3, [3.5, 4.5, 5.5]], atol=0.005)


def test_of_a_network(small_weights) -> None:
    """The mesh of a segmented scan holds the volume of the blended logits."""
    segmenter = Segmenter(small_weights, device="cpu")
    scan = make_scan()
    result = segmenter.segment(scan, "colon,aorta", probabilities=True)
    logits = segmenter.blended_logits(segmenter.prepare(scan).volume, "colon,aorta")
    for name, values in zip(("colon", "aorta"), logits, strict=True):
        mask = result.masks.on_model.mask(name)
        size = torch.nn.functional.pad(values.abs()[None, None], [1] * 6, mode="replicate")[0, 0].numpy()
        mesh = class_mesh(result, name)
        assert_closed(mesh)
        expected = volume_above_zero(np.where(np.pad(mask, 1), size, -size)) * 64
        assert mesh.volume == pytest.approx(expected, rel=0.01)


def test_empty_and_missing_classes() -> None:
    result = result_of_logits({"colon": np.full((5, 5, 5), -2, np.float32)}, np.eye(4))
    assert not len(class_mesh(result, "colon").triangles)
    with pytest.raises(RequestError, match="No mask of 'liver'"):
        class_mesh(result, "liver")
    hard = segmentation_of({"colon": np.ones((5, 5, 5), bool)}, np.zeros((5, 5, 5), np.int16), np.eye(4))
    with pytest.raises(RequestError, match="no probabilities"):
        class_mesh(hard, "colon")
