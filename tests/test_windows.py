"""Window positions and importance against MONAI, and that every voxel is covered."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.inferers.utils import _get_scan_interval

from umlite.errors import RequestError
from umlite.windows import (
    count_windows,
    importance_map,
    pad_to_window,
    streaming_axis,
    total_importance,
    window_at,
    window_grid,
)

sides = st.integers(1, 9)
overlaps = st.sampled_from([0, 0.1, 0.25, 0.5, 0.6, 0.75, 0.9, 0.99])


@settings(deadline=None)
@given(st.tuples(sides, sides, sides), st.tuples(*[st.integers(0, 30)] * 3), overlaps)
def test_positions_are_monais(window, more, overlap) -> None:
    shape = tuple(w + m for w, m in zip(window, more, strict=True))
    interval = _get_scan_interval(shape, window, 3, (overlap,) * 3)
    expected = [tuple(s.start for s in slices) for slices in dense_patch_slices(shape, window, interval)]
    assert sorted(window_grid(shape, window, overlap)) == sorted(expected)


@settings(max_examples=60, deadline=None)
@given(st.tuples(sides, sides, sides), st.tuples(*[st.integers(1, 12)] * 3), overlaps)
def test_every_voxel_is_covered(window, shape, overlap) -> None:
    padded, inside = pad_to_window(torch.zeros(shape), window)
    starts = window_grid(tuple(padded.shape), window, overlap)
    assert len(set(starts)) == len(starts)
    total = total_importance(tuple(padded.shape), starts, importance_map(window))
    assert total.shape == padded.shape
    assert total.min() >= 1e-3
    assert padded[inside].shape == shape


@pytest.mark.parametrize("window", [(96, 96, 96), (64, 64, 64), (16, 24, 8), (1, 1, 1), (2, 3, 5)])
def test_importance_is_monais(window) -> None:
    expected = compute_importance_map(window, mode="gaussian", sigma_scale=0.125)
    expected = expected.clamp_min(max(expected.min().item(), 1e-3))
    torch.testing.assert_close(importance_map(window), expected, atol=1e-7, rtol=1e-6)


def test_small_volumes_are_padded_as_monai_does() -> None:
    voxels = torch.arange(1.0, 25.0).view(2, 3, 4)
    padded, inside = pad_to_window(voxels, (5, 4, 3))
    expected = torch.nn.functional.pad(voxels, (0, 0, 0, 1, 1, 2))
    assert torch.equal(padded, expected)
    assert torch.equal(padded[inside], voxels)


@pytest.mark.parametrize("overlap", [-0.1, 1, 1.5, float("nan")])
def test_overlap_out_of_range(overlap: float) -> None:
    with pytest.raises(RequestError, match="overlap"):
        window_grid((10, 10, 10), (5, 5, 5), overlap)


def test_window_at() -> None:
    assert window_at((1, 2, 3), (4, 5, 6)) == (slice(1, 5), slice(2, 7), slice(3, 9))


@settings(deadline=None)
@given(st.tuples(sides, sides, sides), st.tuples(*[st.integers(0, 30)] * 3), overlaps, st.integers(0, 2))
def test_the_order_along_an_axis(window, shape, overlap, axis) -> None:
    padded = tuple(max(n, w) for n, w in zip(shape, window, strict=True))
    starts = window_grid(padded, window, overlap, axis)
    assert sorted(starts) == window_grid(padded, window, overlap)
    assert [start[axis] for start in starts] == sorted(start[axis] for start in starts)
    assert count_windows(shape, window, overlap) == (len(starts) if min(shape) else 0)


def test_the_thinnest_slab() -> None:
    assert streaming_axis((96, 96, 96), (96, 96, 96)) == 0
    assert streaming_axis((270, 270, 530), (96, 96, 96)) == 2
    assert streaming_axis((100, 90, 100), (96, 48, 96)) == 1
