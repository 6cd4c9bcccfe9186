"""The bundled weights find what docs/demo.md says they find: a worse file fails here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from recipes.demo_weights.evaluate import phantom_dice
from recipes.demo_weights.recipe import EVALUATION_SEED
from umlite import Segmenter
from umlite.phantom import draw_spec, render_phantom
from umlite.results.metrics import dice

SHORT_BARS = {"liver": 0.94, "spleen": 0.91, "left_kidney": 0.92, "aorta": 0.95, "postcava": 0.94}
MEAN_BARS = {
    "liver": 0.95,
    "spleen": 0.93,
    "left_kidney": 0.87,
    "gallbladder": 0.89,
    "aorta": 0.9,
    "stomach": 0.93,
    "left_lung": 0.94,
    "right_lung": 0.94,
    "pancreas": 0.87,
    "postcava": 0.89,
    "intestine": 0.85,
    "bladder": 0.95,
    "prostate": 0.94,
    "left_head_of_femur": 0.9,
    "right_head_of_femur": 0.92,
}
TUMOUR_BARS = {
    "liver_tumor": 0.72,
    "lung_tumor": 0.75,
    "colon_tumor": 0.72,
    "kidney_tumor": 0.6,
    "pancreas_tumor": 0.6,
}
TUMOUR_SEEDS = tuple(EVALUATION_SEED + i for i in (0, 1, 2, 3, 5, 6, 7, 10, 12, 14, 16))
"""All of the twenty phantoms with tumours over 1 ml."""


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter("demo")


def test_organs_of_a_short_phantom(segmenter: Segmenter) -> None:
    spec = replace(draw_spec(EVALUATION_SEED + 1), z_range_mm=(-70.0, 74.0))
    phantom = render_phantom(spec)
    found = segmenter.segment(nib.Nifti1Image(phantom.hu, phantom.affine), overlap=0.1)
    scores = {name: dice(found.mask(name), phantom.masks[name]) for name in SHORT_BARS}
    assert all(scores[name] >= bar for name, bar in SHORT_BARS.items()), scores


@pytest.mark.slow
def test_organs_of_held_out_phantoms(segmenter: Segmenter) -> None:
    means = mean_dice(segmenter, range(EVALUATION_SEED, EVALUATION_SEED + 4))
    assert all(means[name] >= bar for name, bar in MEAN_BARS.items()), means


@pytest.mark.slow
def test_tumours_of_held_out_phantoms(segmenter: Segmenter) -> None:
    means = mean_dice(segmenter, TUMOUR_SEEDS)
    assert all(means[name] >= bar for name, bar in TUMOUR_BARS.items()), means


def mean_dice(segmenter: Segmenter, seeds: Iterable[int]) -> dict[str, float]:
    scores: dict[str, list[float]] = defaultdict(list)
    for seed in seeds:
        for name, score in phantom_dice(segmenter, seed).items():
            scores[name].append(score)
    return {name: float(np.mean(found)) for name, found in scores.items()}
