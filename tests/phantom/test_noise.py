"""Streams and lattice noise."""

import numpy as np
import pytest

from umlite.phantom.noise import lattice_noise, stream


def axes(step, count=48, start=0.0):
    return [(start + step * np.arange(count)).astype(np.float32) for _ in range(3)]


def test_streams_differ_by_name_and_seed_only():
    draw = stream(5, "liver").normal(size=4)
    np.testing.assert_array_equal(draw, stream(5, "liver").normal(size=4))
    assert not np.array_equal(draw, stream(5, "spleen").normal(size=4))
    assert not np.array_equal(draw, stream(6, "liver").normal(size=4))


@pytest.mark.parametrize("step_mm", [5.0, 12.0])
def test_noise_has_mean_0_and_deviation_near_1(step_mm):
    noise = lattice_noise(stream(0, "noise"), axes(4.0), step_mm)
    assert noise.dtype == np.float32
    assert abs(noise.mean()) < 0.15
    assert 0.8 < noise.std() < 1.2


def test_noise_is_smooth():
    noise = lattice_noise(stream(0, "noise"), axes(1.0), 20.0)
    assert np.abs(np.diff(noise, axis=0)).max() < 0.4


def test_a_finer_or_shifted_grid_sees_the_same_noise():
    coarse = lattice_noise(stream(1, "noise"), axes(6.0, 20, -30.0), 15.0)
    fine = lattice_noise(stream(1, "noise"), axes(3.0, 39, -30.0), 15.0)
    np.testing.assert_allclose(fine[::2, ::2, ::2], coarse, atol=1e-5)
    part = lattice_noise(stream(1, "noise"), axes(6.0, 9, 0.0), 15.0)
    np.testing.assert_allclose(part, coarse[5:14, 5:14, 5:14], atol=1e-5)
