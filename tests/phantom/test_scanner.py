"""Blur against scipy."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from umlite.phantom.scanner import smooth

VOLUME = np.random.default_rng(0).normal(size=(13, 17, 11)).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sigma", [0.3, 0.8, 1.7])
def test_blur_agrees_with_scipy(axis, sigma):
    expected = gaussian_filter1d(VOLUME, sigma, axis=axis, mode="nearest", radius=max(1, int(np.ceil(2.5 * sigma))))
    np.testing.assert_allclose(smooth(VOLUME, sigma, axis), expected, atol=2e-6)


def test_a_blur_far_below_a_voxel_changes_nothing():
    assert smooth(VOLUME, 0.1, 0) is VOLUME
