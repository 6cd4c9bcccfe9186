"""Logits that are kept of lesions are the blended ones, whichever windows ran, and masks stay the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from support.stub_engine import StubEngine
from umlite.sweep.adaptive.decide import decide_adaptively
from umlite.sweep.lesion_logits import LesionLogits
from umlite.sweep.sweep import blended_logits, decide_volume

NAMES = ("a", "b", "c")


@pytest.mark.parametrize("shape", [(9, 12, 5), (5, 6, 21), (30, 4, 4), (3, 2, 1)])
@pytest.mark.parametrize("kept", [None, 0.0, 1.5])
def test_logits_of_the_blended_volume(shape: tuple[int, int, int], kept: float | None) -> None:
    """kept: with adaptive windows, of which all run here, and with few sums in memory some run twice."""
    engine = StubEngine((4, 4, 6), classes=3)
    voxels = torch.rand(shape, generator=torch.Generator().manual_seed(0)).clamp_min(0.1)
    logits = LesionLogits(["c", "a"])
    run, options = (decide_volume, {}) if kept is None else (decide_adaptively, {"margin": 99.0, "kept_windows": kept})
    bits, _, _ = run(engine, voxels, [0, 1, 2], NAMES, 0.5, lesion_logits=logits, **options)
    without, _, _ = run(engine, voxels, [0, 1, 2], NAMES, 0.5, **options)
    assert np.array_equal(bits.words[0], without.words[0])
    expected = blended_logits(engine, voxels, [0, 1, 2], 0.5).numpy()
    for name in ("a", "c"):
        mask = bits.mask(name)
        found = logits.at(name, np.argwhere(mask))
        np.testing.assert_allclose(found, expected[NAMES.index(name)][mask], rtol=1e-5, atol=1e-5)
        if kept is None:
            assert np.isnan(logits.at(name, np.argwhere(~mask))).all()


def test_an_empty_volume_has_none() -> None:
    logits = LesionLogits(["a"])
    decide_volume(StubEngine((4, 4, 4)), torch.zeros(0, 0, 0), [0], ("a",), 0.5, lesion_logits=logits)
    assert len(logits.at("a", np.zeros((0, 3), np.int64))) == 0
