"""Parameter generators: three variants, and that folding the constants changes nothing."""

from __future__ import annotations

import pytest
import torch

from support.samples import small_model

VARIANTS = ("shared", "embedding", "per_class")


@pytest.mark.parametrize("generator", VARIANTS)
@torch.inference_mode()
def test_folded_equals_definition(generator: str) -> None:
    model = small_model(generator=generator, classes=6)
    image = torch.randn(3, model.config.head.gap_width)
    classes = [4, 0, 5]
    made = model.generator(image, classes)
    assert made.shape == (3, 3, 153)
    torch.testing.assert_close(model.generator.fold(classes)(image), made, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("generator", VARIANTS)
@torch.inference_mode()
def test_classes_do_not_interact(generator: str) -> None:
    model = small_model(generator=generator, classes=6)
    x = torch.rand(1, 1, 16, 16, 16)
    everything = model(x)
    assert torch.equal(model(x, [5, 2]), everything[:, [5, 2]])


@torch.inference_mode()
def test_shared_controller_joins_image_before_text() -> None:
    generator = small_model(classes=3).generator
    image = torch.randn(1, 32)
    task = torch.relu(generator.embedding[1] @ generator.text_to_vision.weight.T + generator.text_to_vision.bias)
    joined = torch.cat((image[0], task))
    expected = generator.controller.weight.flatten(1) @ joined + generator.controller.bias
    torch.testing.assert_close(generator(image, [1])[0, 0], expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_learned_rows_are_used_as_they_are() -> None:
    generator = small_model(generator="embedding", classes=3).generator
    image = torch.zeros(1, 32)
    expected = generator.controller.weight.flatten(1)[:, 32:] @ generator.embedding[2] + generator.controller.bias
    assert (generator.embedding[2] < 0).any()
    torch.testing.assert_close(generator(image, [2])[0, 0], expected, atol=1e-5, rtol=1e-5)
