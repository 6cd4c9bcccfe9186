"""Layers of token rows (source/linear.c) against float64, and no worse than torch's float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from umlite.cpu.activation import padded
from umlite.cpu.compiler import CompilerError
from umlite.cpu.libraries import load
from umlite.cpu.token_layers import TokenLayers
from umlite.models.swin_unetr import MERGED_CORNERS

try:
    load("linear")
except CompilerError as error:
    pytest.skip(str(error), allow_module_level=True)

GRIDS = st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 9))
CHANNELS = st.integers(1, 70)


def tokens(rng: np.random.Generator, grid, channels: int, mean: float = 0) -> np.ndarray:
    """[D, H, W, padded(channels)], zeros beyond the channels."""
    made = np.zeros((*grid, padded(channels)), np.float32)
    made[..., :channels] = rng.standard_normal((*grid, channels)) + mean
    return made


def weight(rng: np.random.Generator, inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias as stored, float32 numbers in float64."""
    w = np.zeros((padded(inputs), padded(outputs)))
    b = np.zeros(padded(outputs))
    w[:inputs, :outputs] = (rng.standard_normal((inputs, outputs)) * inputs**-0.5).astype(np.float32)
    b[:outputs] = rng.standard_normal(outputs).astype(np.float32)
    return w, b


def run(layers: TokenLayers) -> None:
    layers.prepare([], keep=False)
    for _, step in layers.steps:
        step()


def judge(found: np.ndarray, of: object, *inputs: np.ndarray) -> None:
    """Compare with `of(*inputs)` in float64; torch's float32 says what rounding may do."""
    exact = of(*(torch.from_numpy(x).double() for x in inputs))  # type: ignore[operator]
    plain = of(*(torch.from_numpy(x).float() for x in inputs))  # type: ignore[operator]
    limit = 4 * (plain.double() - exact).abs().max() + 1e-6 * exact.abs().max()
    assert (torch.from_numpy(found).double() - exact).abs().max() <= limit


def norm(x: torch.Tensor, channels: int) -> torch.Tensor:
    return F.pad(F.layer_norm(x[..., :channels], (channels,)), (0, x.shape[-1] - channels))


@settings(max_examples=25)
@given(GRIDS, CHANNELS, st.integers(0, 9))
def test_layer_norm(grid, channels: int, seed: int) -> None:
    x = tokens(np.random.default_rng(seed), grid, channels, mean=3)
    y = np.full_like(x, 9)
    layers = TokenLayers(2)
    layers.layer_norm("norm", x, channels, y)
    run(layers)
    assert not y[..., channels:].any()
    judge(y, lambda t: norm(t, channels), x)


@settings(max_examples=25)
@given(GRIDS, CHANNELS, CHANNELS, st.booleans(), st.booleans(), st.integers(1, 3))
def test_linear(grid, inputs: int, outputs: int, normalised: bool, add: bool, threads: int) -> None:
    rng = np.random.default_rng(inputs)
    x, before = tokens(rng, grid, inputs), tokens(rng, grid, outputs)
    w, b = weight(rng, inputs, outputs)
    y = before.copy()
    layers = TokenLayers(threads)
    layers.linear("linear", x, lambda: (w, b), y, normalised=inputs if normalised else 0, add=add)
    run(layers)

    def expected(x, w, b, before):
        return (norm(x, inputs) if normalised else x) @ w + b + (before if add else 0)

    judge(y, expected, x, w, b, before)


@settings(max_examples=15)
@given(GRIDS, st.integers(1, 40), st.integers(1, 3))
def test_perceptron(grid, channels: int, threads: int) -> None:
    rng = np.random.default_rng(channels)
    x = tokens(rng, grid, channels)
    before, (w, b), (w2, b2) = x.copy(), weight(rng, channels, 4 * channels), weight(rng, 4 * channels, channels)
    layers = TokenLayers(threads)
    layers.perceptron("mlp", x, channels, padded(4 * channels), lambda: (w, b, w2, b2))
    run(layers)
    judge(x, lambda x, w, b, w2, b2: x + F.gelu(norm(x, channels) @ w + b) @ w2 + b2, before, w, b, w2, b2)


def test_gelu_is_as_exact_as_torch() -> None:
    values = np.concatenate([np.linspace(-14, 14, 2040), [0, 1e-30, -1e-30, 1e-3, -1e4, 1e4, -1e30, 1e30]])
    values = values.astype(np.float32).reshape(-1, 64).astype(np.float64)
    found = np.zeros(values.shape, np.float32)
    layers = TokenLayers(1)
    for i, row in enumerate(found):  # x = 0: what is added is gelu(bias)
        arrays = (np.zeros((64, 64)), values[i], np.eye(64), np.zeros(64))
        layers.perceptron(f"mlp{i}", row[None, None, None], 64, 64, lambda made=arrays: made)
    run(layers)
    exact = F.gelu(torch.from_numpy(values)).numpy()
    scale = np.maximum(np.abs(values), 1)
    assert (np.abs(found - exact) / scale).max() < 1.5e-7
    assert np.abs(found - exact)[np.abs(values) < 14].max() < 3.8e-7  # torch's own


@settings(max_examples=15)
@given(GRIDS, st.integers(1, 40), st.integers(1, 60), st.integers(1, 3))
def test_merging_gathers_the_published_corners(grid, channels: int, outputs: int, threads: int) -> None:
    rng = np.random.default_rng(channels)
    x = tokens(rng, [2 * side for side in grid], channels, mean=2)
    w8 = rng.standard_normal((8, channels, outputs)).astype(np.float32)
    stored = padded(channels)
    folded = np.zeros((6, stored, padded(outputs)))
    for corner, part in zip(MERGED_CORNERS, w8, strict=True):
        folded[list(dict.fromkeys(MERGED_CORNERS)).index(corner), :channels, :outputs] += part
    bias = rng.standard_normal(padded(outputs)).astype(np.float32)
    y = np.zeros((*grid, padded(outputs)), np.float32)
    layers = TokenLayers(threads)
    layers.merge("merge", x, channels, lambda: (folded.reshape(6 * stored, -1), bias), y)
    run(layers)

    def expected(x, w8, bias):
        corners = torch.cat([x[d::2, h::2, w::2, :channels] for d, h, w in MERGED_CORNERS], dim=-1)
        return F.layer_norm(corners, (8 * channels,)) @ w8.reshape(8 * channels, -1) + bias[:outputs]

    judge(y[..., :outputs], expected, x, w8, bias)


@settings(max_examples=15)
@given(GRIDS, CHANNELS, st.integers(1, 3))
def test_patch_embedding(grid, channels: int, threads: int) -> None:
    rng = np.random.default_rng(channels)
    image = rng.random([2 * side for side in grid], np.float32)
    w, b = weight(rng, 8, channels)
    w = w[:8]
    y = np.full((*grid, padded(channels)), 9, np.float32)
    layers = TokenLayers(threads)
    layers.patch_embedding("patch_embed", image, lambda: (w, b), y)
    run(layers)

    def expected(image, w, b):
        return F.conv3d(image[None, None], w.T.reshape(-1, 1, 2, 2, 2), b, stride=2)[0].permute(1, 2, 3, 0)

    judge(y, expected, image, w, b)


def test_packed_weights_are_kept_and_found(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UMLITE_CACHE", str(tmp_path))  # the kernels are loaded already
    rng = np.random.default_rng(0)
    x, (w, b) = tokens(rng, (2, 3, 4), 20), weight(rng, 20, 40)
    results, made = [], []
    for tensor in (b, b, w):  # what the weights depend on
        y = np.zeros((2, 3, 4, 48), np.float32)
        layers = TokenLayers(1)
        layers.linear("linear", x, lambda: (made.append(1), (w, b))[1], y)
        layers.prepare([tensor.astype(np.float32)], keep=True)
        layers.steps[0][1]()
        results.append(y)
    assert len(made) == 2
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_arrays_that_do_not_fit_are_refused() -> None:
    layers = TokenLayers(1)
    layers.linear("linear", np.zeros((1, 1, 2, 16), np.float32), lambda: (np.eye(8), np.zeros(16)),
                  np.zeros((1, 1, 2, 16), np.float32))  # fmt: skip
    with pytest.raises(ValueError, match="linear: expected 256 numbers for its weights"):
        layers.prepare([], keep=False)
    with pytest.raises(ValueError, match="contiguous float32"):
        TokenLayers(1).layer_norm("norm", np.zeros((1, 1, 2, 16)), 16, np.zeros((1, 1, 2, 16), np.float32))
