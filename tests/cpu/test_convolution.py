"""Every kind of layer against float64: any channels, any grid, everything pending on load."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from support.cpu_layers import (
    assembly,
    channels_first,
    conv64,
    random_activation,
    raw64,
    relative_error,
    up64,
    values64,
    weights,
)
from umlite.cpu import algorithms
from umlite.cpu.activation import Activation
from umlite.cpu.assembly import Norm

# Worst error over the outputs' root mean square: Winograd's is some 1e-5 (see algorithms.Algorithm), direct sums' 1e-6.
WORST = {"F(2,3)": 1e-5, "F(2,2)": 1e-5, "F(4,3)": 1e-4, "F(4,2)": 1e-4}
DIRECT = 2e-5  # a running float32 sum of about a thousand terms

grids = st.tuples(*[st.integers(1, 10)] * 3)
channels = st.integers(1, 40)
seeds = st.integers(0, 2**32 - 1)
slopes = st.sampled_from([0.0, 0.01, 1.0])
residuals = st.sampled_from(["none", "tensor", "shared"])
BY_TAPS = {taps: [a for a in algorithms.ALGORITHMS if a.taps == taps] for taps in (1, 2, 3)}


@settings(max_examples=60, deadline=None)
@given(grids, channels, channels, slopes, residuals, st.integers(0, 9), st.integers(1, 3), seeds)
def test_convolution(grid, inputs, outputs, slope, residual, kind, threads, seed) -> None:
    rng = np.random.default_rng(seed)
    algorithm = [*BY_TAPS[3], *BY_TAPS[1]][kind % 4]
    taps = algorithm.taps
    net = assembly(threads)
    net._choose = lambda shape: algorithms.Choice(shape, algorithm, *algorithms._blocks(shape, algorithm, net.machine))
    x = random_activation(rng, grid, inputs, slope=slope, residual=residual)
    y = net.tensor(grid, outputs)
    weight = weights(rng, outputs, inputs, taps, taps, taps)
    gamma, beta = rng.standard_normal((2, outputs)).astype(np.float32)
    net.convolution("layer", weight, x, y, norm=Norm(gamma, beta))
    net.prepare()
    net.run()
    expected = conv64(values64(x), weight)
    assert relative_error(raw64(y), expected) < WORST.get(algorithm.name, DIRECT)
    assert not y.data[..., outputs:].any()
    check_norm(y, expected, gamma, beta)


@settings(max_examples=60, deadline=None)
@given(grids, channels, channels, channels, residuals, st.integers(0, 9), st.booleans(), seeds)
def test_up_convolution(grid, inputs, middle, outputs, residual, kind, with_bias, seed) -> None:
    rng = np.random.default_rng(seed)
    algorithm = [*BY_TAPS[2], *BY_TAPS[1]][kind % 4]
    taps = 3 if algorithm.taps == 2 else 1
    net = assembly(2)
    net._choose = lambda shape: algorithms.Choice(shape, algorithm, *algorithms._blocks(shape, algorithm, net.machine))
    x = random_activation(rng, grid, inputs, residual=residual)
    y = net.tensor(tuple(2 * n for n in grid), outputs)
    weight, transposed = weights(rng, outputs, middle, taps, taps, taps), weights(rng, inputs, middle, 2, 2, 2)
    bias = rng.standard_normal(middle).astype(np.float32) if with_bias else None
    gamma, beta = rng.standard_normal((2, outputs)).astype(np.float32)
    net.up_convolution("layer", weight, transposed, x, y, bias=bias, norm=Norm(gamma, beta))
    net.prepare()
    net.run()
    expected = conv64(up64(values64(x), transposed, bias), weight)
    if bias is not None:  # the constant that the norm cancels: what the bias gives where no border is near
        expected -= torch.einsum("omxyz,m->o", torch.from_numpy(weight).double(), torch.from_numpy(bias).double())[
            None, :, None, None, None
        ]
    assert relative_error(raw64(y), expected) < WORST.get(algorithm.name, DIRECT)
    check_norm(y, expected, gamma, beta)


even_grids = st.tuples(*[st.integers(1, 9).map(lambda n: 2 * n)] * 3)
groups = st.integers(1, 5)  # channels that share mean and variance


@settings(max_examples=40, deadline=None)
@given(even_grids, channels, st.integers(1, 8), groups, st.integers(1, 3), seeds)
def test_strided_convolution(grid, inputs, parts, group, threads, seed) -> None:
    rng = np.random.default_rng(seed)
    outputs = group * parts
    net = assembly(threads)
    x = random_activation(rng, grid, inputs, slope=0.0)  # what is pending is not applied
    y = net.tensor(tuple(n // 2 for n in grid), outputs)
    y.data[...] = 7  # as memory that another layer used
    weight = weights(rng, outputs, inputs, 3, 3, 3)
    gamma, beta = rng.standard_normal((2, outputs)).astype(np.float32)
    net.strided_convolution("layer", weight, x, y, norm=Norm(gamma, beta, group=group))
    net.prepare()
    net.run()
    expected = F.conv3d(raw64(x), torch.from_numpy(weight).double(), stride=2, padding=1)
    assert relative_error(raw64(y), expected) < DIRECT
    assert not y.data[..., outputs:].any()
    check_norm(y, expected, gamma, beta, group)


@settings(max_examples=40, deadline=None)
@given(grids, st.integers(1, 8), groups, st.integers(1, 3), seeds)
def test_upsampling(grid, parts, group, threads, seed) -> None:
    rng = np.random.default_rng(seed)
    net = assembly(threads)
    x = random_activation(rng, grid, group * parts)
    y = net.tensor(tuple(2 * n for n in grid), group * parts)
    y.data[..., : y.channels] = rng.standard_normal((*y.grid, y.channels))
    gamma, beta = rng.standard_normal((2, group * parts)).astype(np.float32)
    expected = raw64(y) + F.interpolate(raw64(x), scale_factor=2, mode="trilinear", align_corners=False)
    net.upsampling("layer", x, y, norm=Norm(gamma, beta, group=group))
    net.prepare()
    net.run()
    assert relative_error(raw64(y), expected) < 2e-6
    assert not y.data[..., group * parts :].any()
    check_norm(y, expected, gamma, beta, group)


@pytest.mark.parametrize("algorithm", [*BY_TAPS[3], *BY_TAPS[1]], ids=lambda a: a.name)
def test_channels_of_a_group_share_mean_and_variance(algorithm: algorithms.Algorithm) -> None:
    rng, taps = np.random.default_rng(0), algorithm.taps
    net = assembly(2)
    net._choose = lambda shape: algorithms.Choice(shape, algorithm, *algorithms._blocks(shape, algorithm, net.machine))
    x, y, image = random_activation(rng, (5, 6, 9), 7), net.tensor((5, 6, 9), 18), net.tensor((5, 6, 9), 18)
    y.data[..., :18] = before = rng.standard_normal((5, 6, 9, 18)).astype(np.float32)
    weight, gamma, beta = weights(rng, 18, 7, taps, taps, taps), *rng.standard_normal((2, 18)).astype(np.float32)
    voxels, first = rng.random((5, 6, 9), np.float32), weights(rng, 18, 1, 3, 3, 3)
    net.convolution("layer", weight, x, y, norm=Norm(gamma, beta, group=6), accumulate=True)
    net.image_convolution("image", first, voxels, image, norm=Norm(gamma, beta, group=6))
    net.prepare()
    net.run()
    check_norm(y, conv64(values64(x), weight) + channels_first(before), gamma, beta, 6)
    check_norm(image, conv64(torch.from_numpy(voxels).double()[None, None], first), gamma, beta, 6)


def check_norm(y: Activation, expected: torch.Tensor, gamma, beta, group: int = 1) -> None:
    flat = expected.flatten(2)[0].unflatten(0, (-1, group)).flatten(1)
    deviation = (flat.var(1, correction=0) + 1e-5).sqrt().repeat_interleave(group)
    scale = torch.from_numpy(gamma).double() / deviation
    shift = torch.from_numpy(beta).double() - flat.mean(1).repeat_interleave(group) * scale
    found = (y.scale[: y.channels], y.shift[: y.channels])
    for mine, right in zip(found, (scale, shift), strict=True):
        limit = 2e-3 * float(right.abs().max())
        torch.testing.assert_close(torch.from_numpy(mine).double(), right, rtol=2e-3, atol=limit)


@pytest.mark.parametrize("grid", [(1, 1, 1), (9, 8, 13)])
@pytest.mark.parametrize("algorithm", [*BY_TAPS[3], *BY_TAPS[1]], ids=lambda a: a.name)
def test_a_large_mean_costs_no_digits(algorithm: algorithms.Algorithm, grid) -> None:
    """Statistics of 1000 +- 1, in which sums of plain squares in float32 would leave two digits of the variance."""
    taps = algorithm.taps
    net = assembly()
    net._choose = lambda shape: algorithms.Choice(shape, algorithm, *algorithms._blocks(shape, algorithm, net.machine))
    x, y = net.tensor(grid, 3, slope=1.0), net.tensor(grid, 3)
    x.data[..., :3] = 1000 + np.random.default_rng(0).standard_normal((*grid, 3))
    weight = np.zeros((3, 3, taps, taps, taps), np.float32)
    weight[range(3), range(3), taps // 2, taps // 2, taps // 2] = 1
    net.convolution("layer", weight, x, y, norm=Norm.plain(3))
    net.prepare()
    net.run()
    deviation = (raw64(y).flatten(2)[0].var(1, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(torch.from_numpy(y.scale[:3]).double(), 1 / deviation, rtol=1e-5, atol=0)


@settings(max_examples=20, deadline=None)
@given(grids, channels, st.integers(1, 3), seeds)
def test_image_convolution(grid, outputs, threads, seed) -> None:
    rng = np.random.default_rng(seed)
    net = assembly(threads)
    image = rng.random(grid, np.float32)
    y = net.tensor(grid, outputs)
    weight = weights(rng, outputs, 1, 3, 3, 3)
    gamma, beta = rng.standard_normal((2, outputs)).astype(np.float32)
    net.image_convolution("layer", weight, image, y, norm=Norm(gamma, beta))
    net.prepare()
    net.run()
    expected = conv64(torch.from_numpy(image).double()[None, None], weight)
    assert relative_error(raw64(y), expected) < DIRECT
    check_norm(y, expected, gamma, beta)


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.integers(1, 5)] * 3), channels, channels, channels, seeds)
def test_concatenation_and_pooling(half, inputs, skip, outputs, seed) -> None:
    """Up half, skip half on top of it, statistics of the sum, and the pooled sum: what a decoder and an encoder do."""
    rng = np.random.default_rng(seed)
    grid = tuple(2 * n for n in half)
    net = assembly(2)
    coarse, fine = random_activation(rng, half, inputs), random_activation(rng, grid, skip)
    y, pool = net.tensor(grid, outputs), net.tensor(half, outputs)
    weight = weights(rng, outputs, inputs + skip, 3, 3, 3)
    transposed, bias = weights(rng, inputs, inputs, 2, 2, 2), rng.standard_normal(inputs).astype(np.float32)
    gamma, beta = rng.standard_normal((2, outputs)).astype(np.float32)
    net.up_convolution("up", weight[:, :inputs], transposed, coarse, y, bias=bias)
    net.convolution("skip", weight[:, inputs:], fine, y, norm=Norm(gamma, beta), accumulate=True, pool=pool)
    net.prepare()
    net.run()
    together = torch.cat((up64(values64(coarse), transposed, bias), values64(fine)), 1)
    expected = F.instance_norm(
        conv64(together, weight), weight=torch.from_numpy(gamma).double(), bias=torch.from_numpy(beta).double()
    ).relu()
    if half != (1, 1, 1):
        assert relative_error(values64(y), expected) < 2e-3
        assert relative_error(values64(pool), F.max_pool3d(values64(y), 2)) < 1e-6


def test_layers_of_one_name_or_other_grids_are_refused() -> None:
    net = assembly()
    x, y = net.tensor((4, 4, 4), 3), net.tensor((4, 4, 4), 5)
    weight = np.zeros((5, 3, 3, 3, 3), np.float32)
    net.convolution("layer", weight, x, y)
    with pytest.raises(ValueError, match="Two layers"):
        net.convolution("layer", weight, x, y)
    with pytest.raises(ValueError, match="one grid"):
        net.convolution("other", weight, x, net.tensor((4, 4, 5), 5))
    with pytest.raises(ValueError, match="twice as fine"):
        net.up_convolution("up", None, np.zeros((3, 5, 2, 2, 2), np.float32), x, y)
    with pytest.raises(ValueError, match="norm"):
        net.convolution("pooled", weight, x, y, pool=net.tensor((2, 2, 2), 5))
