"""Whole networks against the numbers that the published code computed for the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from support.recipes import RECIPES, Recipe
from umlite import Segmenter

TOLERANCE = 1e-3  # of a class's standard deviation: what rounding alone reaches


@pytest.fixture(scope="module", params=RECIPES)
def golden(request, shared: Path, recipe: Recipe):
    """(weights file, golden arrays, input window) of one recipe checkpoint."""
    expected = load_file(shared / "golden" / f"patch_{request.param}.safetensors")
    return recipe.weights(request.param), expected, recipe.patch(0)


@pytest.mark.usefixtures("all_threads")
@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_window_agrees_with_the_published_code(golden, engine: str) -> None:
    path, expected, window = golden
    assert torch.equal(window[0, 0, ::8, ::8, ::8], expected["input_strided"])
    segmenter = Segmenter(path, device="cpu", engine=engine)
    logits = segmenter.window_logits(window)[0]
    deviation = expected["logits_std"]
    error = (logits[:, ::6, ::6, ::6] - expected["logits_strided"]).abs().amax(dim=(1, 2, 3)) / deviation
    assert error.max() < TOLERANCE
    flat = logits.flatten(1)
    assert ((flat.mean(1) - expected["logits_mean"]).abs() / deviation).max() < TOLERANCE
    assert ((flat.std(1) - deviation).abs() / deviation).max() < TOLERANCE
    if "logits_max" in expected:
        assert ((flat.amax(1) - expected["logits_max"]).abs() / deviation).max() < TOLERANCE
        assert ((flat.amin(1) - expected["logits_min"]).abs() / deviation).max() < TOLERANCE
    if engine == "reference":
        _check_inside(segmenter.engine.model, window, expected)


@torch.inference_mode()
def _check_inside(model, window: torch.Tensor, expected: dict[str, torch.Tensor]) -> None:
    """The arrays on the way: bottleneck, feature, image vector, head input, parameters."""
    bottleneck, feature = model.backbone(window)
    image = model.generator.image_vector(bottleneck)
    everything = range(model.config.head.classes)
    torch.testing.assert_close(model.generator(image, everything)[0], expected["params"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        model.generator.fold(list(everything))(image)[0], expected["params"], atol=1e-5, rtol=1e-5
    )
    if "gap" not in expected:
        return
    step = 1 if bottleneck.shape[-1] == expected["bottleneck"].shape[-1] else 3
    torch.testing.assert_close(bottleneck[0, :, ::step, ::step, ::step], expected["bottleneck"], atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(feature[0, :, ::12, ::12, ::12], expected["feature_strided"], atol=5e-4, rtol=1e-4)
    torch.testing.assert_close(image[0], expected["gap"], atol=1e-5, rtol=1e-5)
    head_input = model.head_input(feature)[0, :, ::6, ::6, ::6]
    torch.testing.assert_close(head_input, expected["head_input_strided"], atol=5e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("all_threads")
def test_a_batch_of_three_gives_what_three_single_windows_give(golden, recipe: Recipe) -> None:
    path, _, window = golden
    windows = torch.cat((window, recipe.patch(1), recipe.patch(2)))
    single = Segmenter(path, device="cpu", batch=1).window_logits(windows, "liver,pancreas_tumor")
    batched = Segmenter(path, device="cpu", batch=3).window_logits(windows, "liver,pancreas_tumor")
    assert ((single - batched).abs().amax(dim=(0, 2, 3, 4)) / single.std(dim=(0, 2, 3, 4))).max() < TOLERANCE
