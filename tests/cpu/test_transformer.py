"""The native transformer against the torch module in float64."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from umlite.cpu.activation import Activation, padded
from umlite.cpu.compiler import CompilerError
from umlite.cpu.libraries import load
from umlite.cpu.transformer import NativeTransformer
from umlite.models.config import SwinUNETRConfig
from umlite.models.swin_unetr import SwinTransformer, SwinUNETR

try:
    load("linear")
    load("attention")
except CompilerError as error:
    pytest.skip(str(error), allow_module_level=True)


def random_transformer(config: SwinUNETRConfig) -> SwinTransformer:
    torch.manual_seed(0)
    module = SwinUNETR(config).swinViT.requires_grad_(False)
    for name, tensor in module.named_parameters():
        spread = 1.0 if tensor.ndim == 1 or "table" in name else (1 / tensor[0].numel()) ** 0.5
        tensor.normal_(std=spread)
    return module


def empty_maps(window, channels: int) -> list[Activation]:
    """Targets filled with numbers that must not stay."""
    grids = [[side >> level for side in window] for level in range(1, 6)]
    arrays = [np.full((*grid, padded(channels << i)), 9, np.float32) for i, grid in enumerate(grids)]
    return [Activation.plain(array, channels << i) for i, array in enumerate(arrays)]


@pytest.mark.parametrize(
    ("config", "window"),
    [
        (SwinUNETRConfig(12), (32, 64, 96)),
        (SwinUNETRConfig(24, depths=(1, 2, 3, 1)), (32, 32, 32)),
        (SwinUNETRConfig(36, heads=(2, 3, 9, 12), attention_window=4), (32, 32, 32)),
        (SwinUNETRConfig(48), (32, 32, 32)),
    ],
)
def test_as_exact_as_torch(config: SwinUNETRConfig, window) -> None:
    module = random_transformer(config)
    image = np.random.default_rng(0).random(window, np.float32)
    maps = empty_maps(window, config.feature_size)
    native = NativeTransformer(module, image, maps, threads=2)
    native.prepare(keep=False)
    x = torch.from_numpy(image)[None, None]
    plain = module(x)
    exact = module.double()(x.double())
    for _ in range(2):  # nothing of the first window may be left in the second
        native.run()
    for found, torch32, right in zip(maps, plain, exact, strict=True):
        error = torch.from_numpy(found.values()).permute(3, 0, 1, 2)[None].double() - right
        rounding = torch32.double() - right
        assert error.square().mean() <= 1.5**2 * rounding.square().mean()
        assert error.abs().max() <= 3 * rounding.abs().max()
        assert not found.data[..., found.channels :].any()


def test_steps_keep_what_they_need() -> None:
    image = np.random.default_rng(0).random((32, 32, 32), np.float32)
    maps = empty_maps(image.shape, 12)
    native = NativeTransformer(random_transformer(SwinUNETRConfig(12)), image, maps, threads=1)
    native.prepare(keep=False)
    steps = native.steps
    del native
    gc.collect()
    for _, step in steps:
        step()
    assert np.isfinite(maps[4].data).all()


def test_storage_is_used_where_it_is_large_enough() -> None:
    module = random_transformer(SwinUNETRConfig(12))
    image = np.random.default_rng(0).random((32, 32, 32), np.float32)
    results = []
    for storage in (None, np.zeros(10, np.float32), np.full((40, 32, 32, 32), np.nan, np.float32)):
        maps = empty_maps(image.shape, 12)
        native = NativeTransformer(module, image, maps, threads=1, storage=storage)
        native.prepare(keep=False)
        native.run()
        results.append([found.data for found in maps])
    assert storage is not None
    assert not np.isnan(storage).all()
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))
