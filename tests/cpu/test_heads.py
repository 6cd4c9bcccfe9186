"""Heads on the native CPU path against plain torch, in float32 and float64."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from umlite.cpu.activation import Activation, padded
from umlite.cpu.compiler import CompilerError
from umlite.cpu.heads import Heads
from umlite.cpu.libraries import load
from umlite.models.config import HeadConfig, NetworkConfig, SegResNetConfig, UNetConfig
from umlite.models.universal import UniversalModel

try:
    load("heads")
except CompilerError as error:
    pytest.skip(str(error), allow_module_level=True)

BOTTLENECK_GRID = (2, 1, 3)


def _model(
    features: int, inner: int = 8, generator: str = "shared", groups: int = 4, classes: int = 5
) -> UniversalModel:
    torch.manual_seed(features + inner)
    head = HeadConfig(
        classes, generator, embedding_width=6, task_width=6, hidden_width=7, gap_width=9, channels=inner, groups=groups
    )
    model = UniversalModel(NetworkConfig(UNetConfig((features, 4, 4, 40)), head)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
        model.generator.embedding.normal_()
    return model


def _activation(grid: tuple[int, int, int], channels: int, residual: int | None = None) -> Activation:
    """Random numbers with everything pending; residual: channels of a second term as stored."""
    rng = np.random.default_rng(channels)

    def pending(width: int, slope: float) -> Activation:
        made = Activation.plain(np.zeros((*grid, width), np.float32), min(channels, width))
        made.data[..., :channels] = rng.standard_normal(made.data[..., :channels].shape)
        made.scale, made.shift = (np.zeros(padded(channels), np.float32) for _ in range(2))
        made.scale[:channels], made.shift[:channels] = rng.standard_normal((2, channels))
        made.slope = slope
        return made

    made = pending(padded(channels), 0.01 if residual else 0.0)
    made.channels = channels
    if residual:
        made.residual = pending(residual, 1.0)
    return made


def _expected(model: UniversalModel, feature: Activation, bottleneck: Activation, dtype: torch.dtype) -> torch.Tensor:
    exact = copy.deepcopy(model).to(dtype)

    def channels_first(activation: Activation) -> torch.Tensor:
        return torch.from_numpy(activation.values()).permute(3, 0, 1, 2)[None].to(dtype)

    with torch.inference_mode():
        image = exact.generator.image_vector(channels_first(bottleneck))
        params = exact.generator(image, range(exact.config.head.classes))
        return exact.kernels.dynamic_heads(exact.head_input(channels_first(feature)), params)[0]


@pytest.mark.parametrize("grid", [(1, 1, 1), (2, 3, 7), (1, 2, 24), (2, 1, 97), (3, 2, 40)])
@pytest.mark.parametrize(
    ("features", "inner", "generator", "residual"),
    [(64, 8, "shared", None), (48, 8, "per_class", 48), (12, 8, "embedding", 1), (20, 3, "shared", None)],
)
def test_as_exact_as_plain_torch(grid, features: int, inner: int, generator: str, residual: int | None) -> None:
    model = _model(features, inner, generator)
    feature, bottleneck = _activation(grid, features, residual), _activation(BOTTLENECK_GRID, 40)
    found = torch.from_numpy(Heads(model, feature, bottleneck, threads=2).logits(range(5))).double()
    exact = _expected(model, feature, bottleneck, torch.float64)
    plain = (_expected(model, feature, bottleneck, torch.float32).double() - exact).abs().max()
    assert (found - exact).abs().max() <= 2 * plain + 1e-6 * exact.abs().max()


@pytest.mark.parametrize("grid", [(1, 1, 1), (2, 3, 7), (2, 1, 97)])
@pytest.mark.parametrize(("features", "groups", "residual"), [(16, 8, None), (12, 4, 1), (40, 8, 48)])
def test_heads_of_one_layer(grid, features: int, groups: int, residual: int | None) -> None:
    torch.manual_seed(0)
    head = HeadConfig.linear(5, features, groups)
    model = UniversalModel(NetworkConfig(SegResNetConfig(features, groups=groups), head)).eval()
    for tensor in model.state_dict().values():
        tensor.normal_(std=0.5)
    feature, bottleneck = _activation(grid, features, residual), _activation(BOTTLENECK_GRID, 8 * features)
    heads = Heads(model, feature, bottleneck, threads=2)
    found = heads.logits(range(5))
    exact = _expected(model, feature, bottleneck, torch.float64)
    plain = (_expected(model, feature, bottleneck, torch.float32).double() - exact).abs().max()
    assert (torch.from_numpy(found).double() - exact).abs().max() <= 2 * plain + 1e-6 * exact.abs().max()
    assert np.array_equal(heads.logits([3, 1]), found[[3, 1]])


def test_two_hundred_classes_in_one_call_are_those_of_calls_of_a_few() -> None:
    model = _model(16, classes=200)
    feature, bottleneck = _activation((2, 3, 40), 16), _activation(BOTTLENECK_GRID, 40)
    heads = Heads(model, feature, bottleneck, threads=2)
    found = heads.logits(range(200))
    assert np.array_equal(found, np.concatenate([heads.logits(range(n, n + 8)) for n in range(0, 200, 8)]))


def test_statistics_are_exact_for_a_large_mean_and_the_same_for_any_threads() -> None:
    model = _model(16)
    feature, bottleneck = _activation((9, 8, 13), 16), _activation(BOTTLENECK_GRID, 40)
    feature.data[...] = 1000 + np.random.default_rng(0).standard_normal(feature.data.shape)
    feature.scale[:], feature.shift[:], feature.slope = 1, 0, 1.0
    found = []
    for threads in (1, 2, 3):
        norm = Heads(model, feature, bottleneck, threads)._feature_norm
        norm.update()
        found.append((norm.scale.copy(), norm.shift.copy()))
    groups = feature.values().astype(np.float64).reshape(-1, 4, 4)
    deviation = np.repeat(np.sqrt(groups.var((0, 2)) + model.head_input[0].eps), 4)
    np.testing.assert_allclose(found[0][0], model.head_input[0].weight.detach().numpy() / deviation, rtol=1e-5)
    assert all(np.array_equal(one, other) for run in found[1:] for one, other in zip(run, found[0], strict=True))


def test_adding_into_a_window_of_a_slab_leaves_the_rest_alone() -> None:
    model = _model(16)
    feature, bottleneck = _activation((3, 4, 29), 16), _activation(BOTTLENECK_GRID, 40)
    heads = Heads(model, feature, bottleneck, threads=2)
    wanted = [3, 0]
    importance = np.random.default_rng(1).random((3, 4, 29), np.float32)
    slab = np.full((2, 5, 6, 40), 7, np.float32)
    window = slab[:, 1:4, 2:, 5:34]
    heads.add(wanted, window, importance)
    heads.add(wanted, window, importance)
    np.testing.assert_allclose(window, 7 + 2 * importance * heads.logits(wanted), rtol=1e-6, atol=1e-5)
    window[...] = 7
    assert (slab == 7).all()


def test_a_class_does_not_depend_on_the_others() -> None:
    model = _model(64)
    feature, bottleneck = _activation((2, 5, 33), 64), _activation(BOTTLENECK_GRID, 40)
    heads = Heads(model, feature, bottleneck, threads=1)
    everything = heads.logits(range(5))
    for c in range(5):
        assert np.array_equal(heads.logits([c])[0], everything[c])
    assert np.array_equal(heads.logits([4, 1, 4]), everything[[4, 1, 4]])


def test_targets_that_do_not_fit_are_refused() -> None:
    model = _model(16)
    heads = Heads(model, _activation((2, 2, 4), 16), _activation(BOTTLENECK_GRID, 40), threads=1)
    with pytest.raises(ValueError, match="contiguous float32"):
        heads.logits([0], np.zeros((1, 2, 2, 8), np.float32)[..., ::2])
    with pytest.raises(ValueError, match="target of shape"):
        heads.logits([0], np.zeros((2, 2, 2, 4), np.float32))
    with pytest.raises(ValueError, match="importance"):
        heads.add([0], np.zeros((1, 2, 2, 4), np.float32), np.zeros((2, 4, 2), np.float32))
    with pytest.raises(ValueError, match="found float64"):
        heads.add([0], np.zeros((1, 2, 2, 4), np.float32), np.zeros((2, 2, 4)))
