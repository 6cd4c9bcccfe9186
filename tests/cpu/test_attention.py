"""Window attention in C (source/attention.c) against the plain reference in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from umlite.cpu.activation import padded
from umlite.cpu.compiler import CompilerError
from umlite.cpu.libraries import load
from umlite.cpu.token_layers import LOG2_E, TokenLayers, expanded_bias, window_sides
from umlite.kernels.window_attention import relative_position_index, window_attention_ref

try:
    load("attention")
except CompilerError as error:
    pytest.skip(str(error), allow_module_level=True)


def stored(qkv: np.ndarray, heads: int, width: int) -> np.ndarray:
    """[..., 3 * heads * width] -> [..., 3 * heads * padded(width)], queries as the kernel takes them."""
    split = qkv.reshape(*qkv.shape[:-1], 3, heads, width).astype(np.float64)
    split[..., 0, :, :] *= width**-0.5 * LOG2_E
    wide = np.zeros((*split.shape[:-1], padded(width)), np.float32)
    wide[..., :width] = split
    return wide.reshape(*qkv.shape[:-1], -1)


def attend(qkv, padding, table, heads: int, window: int, shift: int, threads: int) -> np.ndarray:
    grid, width = qkv.shape[:3], qkv.shape[3] // (3 * heads)
    count = int(np.prod(window_sides(grid, window)))
    bias = expanded_bias(table.astype(np.float64), relative_position_index(window)[:count, :count].numpy())
    y = np.full((*grid, heads * padded(width)), 9, np.float32)
    layers = TokenLayers(threads)
    wide = stored(qkv, heads, width)
    layers.attention("attention", wide, heads, lambda: (stored(padding, heads, width), bias), y, window, shift)
    layers.prepare([], keep=False)
    layers.steps[0][1]()
    split = y.reshape(*grid, heads, padded(width))
    assert not split[..., width:].any()
    return split[..., :width].reshape(*grid, -1)


def check(grid, heads: int, width: int, window: int, shift: int, threads: int, spread: float = 1.0) -> None:
    rng = np.random.default_rng(sum(grid) + width)
    qkv = (spread * rng.standard_normal((*grid, 3 * heads * width))).astype(np.float32)
    padding = (spread * rng.standard_normal(3 * heads * width)).astype(np.float32)
    table = rng.standard_normal(((2 * window - 1) ** 3, heads)).astype(np.float32)
    found = torch.from_numpy(attend(qkv, padding, table, heads, window, shift, threads)).double()
    arguments = [torch.from_numpy(a) for a in (qkv[None], padding, table)]
    exact = window_attention_ref(*(a.double() for a in arguments), heads, window, shift)[0]
    plain = window_attention_ref(*arguments, heads, window, shift)[0].double()
    limit = 4 * (plain - exact).abs().max() + 1e-6 * exact.abs().max()
    assert (found - exact).abs().max() <= limit


@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize("grid", [(7, 7, 7), (8, 9, 10), (14, 7, 5), (3, 15, 6), (6, 6, 6), (1, 1, 13), (1, 1, 1)])
def test_published_window(grid, shift: int) -> None:
    check(grid, 3, 16, 7, shift, threads=2)


@settings(max_examples=25)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    st.integers(1, 3),
    st.sampled_from([1, 4, 8, 12, 16, 20, 32]),
    st.sampled_from([(2, 1), (3, 1), (4, 2), (5, 0)]),
    st.integers(1, 3),
)
def test_any_size(grid, heads: int, width: int, window_and_shift, threads: int) -> None:
    check(grid, heads, width, *window_and_shift, threads)


@pytest.mark.parametrize("spread", [1e-4, 6.0])
def test_flat_and_sharp_scores(spread: float) -> None:
    check((8, 6, 7), 2, 16, 4, 2, threads=1, spread=spread)


def test_scores_beyond_the_range_of_exponentials() -> None:
    rng = np.random.default_rng(0)
    qkv = (100 * rng.standard_normal((4, 4, 4, 48))).astype(np.float32)
    found = attend(qkv, np.zeros(48, np.float32), np.zeros((343, 1), np.float32), 1, 4, 0, 1)
    exact = window_attention_ref(
        torch.from_numpy(qkv[None]).double(), torch.zeros(48).double(), torch.zeros(343, 1).double(), 1, 4, 0
    )
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, exact[0].numpy(), atol=1e-3 * 100)


def test_threads_do_not_change_the_numbers() -> None:
    rng = np.random.default_rng(1)
    qkv, padding = rng.standard_normal((8, 9, 10, 96)).astype(np.float32), rng.standard_normal(96).astype(np.float32)
    table = rng.standard_normal((2197, 2)).astype(np.float32)
    one, two, three = (attend(qkv, padding, table, 2, 7, 3, threads) for threads in (1, 2, 3))
    assert np.array_equal(one, two)
    assert np.array_equal(one, three)
