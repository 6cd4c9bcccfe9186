import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from umlite.volume import resampling
from umlite.volume.resampling import resample_linear, resample_nearest


def volume_of(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 500, shape).astype(np.float32)


def linear_reference(volume: np.ndarray, to_source: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    index = np.stack([*np.meshgrid(*map(np.arange, shape), indexing="ij"), np.ones(shape)]).reshape(4, -1)
    where = (to_source @ index)[:3]
    return map_coordinates(volume.astype(np.float64), where, order=1, mode="nearest").reshape(shape)


MAPS = {
    "scale": np.diag([0.4, 1.7, 1.0, 1]),
    "flip": np.array([[-1.0, 0, 0, 12], [0, 0.5, 0, 0.25], [0, 0, -2, 16], [0, 0, 0, 1]]),
    "outside": np.array([[1.0, 0, 0, -3.3], [0, 1, 0, 2.2], [0, 0, 1, 9.5], [0, 0, 0, 1]]),
    "shear": np.array([[1.2, 0, 0, 0], [0, 0.8, 0.3, -2], [0.1, 0, 0.7, 0.5], [0, 0, 0, 1]]),
    "turned": np.array([[0.1, 0.9, 0, 1], [-0.9, 0.1, 0, 11], [0, 0.05, 1.1, 0], [0, 0, 0, 1]]),
}


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("layout", ["C", "F"])
@pytest.mark.parametrize("slab", [1, 500, 1 << 20])
def test_linear_matches_scipy(name: str, layout: str, slab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "_SLAB_VOXELS", slab)
    volume = np.array(volume_of((13, 11, 17)), order="C" if layout == "C" else "F")
    before = volume.copy()
    found = resample_linear(torch.from_numpy(volume), MAPS[name], (9, 14, 12))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, linear_reference(volume, MAPS[name], (9, 14, 12)), atol=1e-3)
    np.testing.assert_array_equal(volume, before)


def test_linear_on_axes_of_one_voxel() -> None:
    volume = volume_of((1, 5, 1))
    found = resample_linear(torch.from_numpy(volume), np.diag([0.5, 0.5, 2, 1]), (3, 9, 2))
    np.testing.assert_allclose(found, linear_reference(volume, np.diag([0.5, 0.5, 2, 1]), (3, 9, 2)), atol=1e-3)


def test_linear_keeps_constants_exactly() -> None:
    volume = torch.full((7, 8, 9), -175.1)
    for to_source in MAPS.values():
        assert (resample_linear(volume, to_source, (11, 11, 11)) == volume[0, 0, 0]).all()


def test_identity_copies_nothing() -> None:
    volume = torch.from_numpy(volume_of((5, 6, 7)))
    assert resample_linear(volume, np.eye(4), (5, 6, 7)) is volume


def nearest_reference(
    labels: np.ndarray,
    to_source: np.ndarray,
    shape: tuple[int, int, int],
    source: tuple[int, int, int],
    start: tuple[int, int, int],
) -> np.ndarray:
    full = np.zeros(source, labels.dtype)
    full[tuple(slice(s, s + n) for s, n in zip(start, labels.shape, strict=True))] = labels
    index = np.stack([*np.meshgrid(*map(np.arange, shape), indexing="ij"), np.ones(shape)]).reshape(4, -1)
    where = np.floor((to_source @ index)[:3] + 0.5 + 1e-6).astype(int)
    x, y, z = np.clip(where, 0, np.array(source)[:, None] - 1)
    return full[x, y, z].reshape(shape)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint16, np.uint32, np.uint64, np.int16, ">u4"])
@pytest.mark.parametrize("slab", [1, 1 << 20])
def test_nearest_matches_a_plain_lookup(
    name: str, dtype: np.typing.DTypeLike, slab: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resampling, "_SLAB_VOXELS", slab)
    bits = np.random.default_rng(1).integers(0, 2**63, (8, 9, 10), dtype=np.uint64)
    labels = (bits if dtype != np.bool_ else bits % 2).astype(dtype)
    found = resample_nearest(labels, MAPS[name], (9, 14, 12), (13, 11, 17), (3, 1, 5))
    assert found.dtype == labels.dtype
    np.testing.assert_array_equal(found, nearest_reference(labels, MAPS[name], (9, 14, 12), (13, 11, 17), (3, 1, 5)))


@pytest.mark.parametrize("noise", [-5e-7, 0, 5e-7])
def test_half_way_goes_up_whatever_the_noise(noise: float) -> None:
    to_source = np.diag([0.5, 1, 1, 1.0])
    to_source[0, 3] = noise
    found = resample_nearest(np.arange(4, dtype=np.uint8).reshape(4, 1, 1), to_source, (7, 1, 1), (4, 1, 1), (0, 0, 0))
    assert found.ravel().tolist() == [0, 1, 1, 2, 2, 3, 3]


def test_nearest_of_a_box_that_nothing_falls_in() -> None:
    found = resample_nearest(np.ones((1, 1, 1), np.uint8), np.diag([2, 2, 2, 1.0]), (3, 3, 3), (7, 7, 7), (1, 1, 1))
    assert not found.any()


@settings(max_examples=30)
@given(st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.booleans()] * 3))
def test_flips_are_exact(shape: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> None:
    mirror = np.eye(4)
    for axis in np.flatnonzero(flips):
        mirror[axis, axis], mirror[axis, 3] = -1, shape[axis] - 1
    volume = volume_of(shape)
    expected = np.flip(volume, np.flatnonzero(flips))
    np.testing.assert_array_equal(resample_linear(torch.from_numpy(volume), mirror, shape), expected)
    bits = volume.view(np.uint32)
    np.testing.assert_array_equal(
        resample_nearest(bits, mirror, shape, shape, (0, 0, 0)), np.flip(bits, np.flatnonzero(flips))
    )
