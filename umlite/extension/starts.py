"""Controllers to begin learning with: existing classes', a text's, a linear probe's, random numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from umlite.errors import RequestError
from umlite.extension.learning import Controller
from umlite.extension.probe import head_of, linear_probe
from umlite.extension.samples import Samples
from umlite.models.parameter_generator import ParameterGenerator, SharedController


def existing(generator: ParameterGenerator, head: int) -> Controller:
    """An existing head as a linear controller: the same where it is linear, else its answer to no image."""
    fold, width = generator.fold([head]), generator.config.gap_width
    with torch.inference_mode():
        nothing = fold(torch.zeros(1, width))[0, 0]
        if generator.config.generator == "per_class" and head < generator.config.classes:
            return Controller(torch.zeros(len(nothing), width), nothing.clone())
        steps = fold(torch.eye(width))[:, 0] - nothing
    return Controller(steps.T.contiguous().clone(), nothing.clone())


def of_text(generator: ParameterGenerator, embedding: Tensor) -> Controller:
    """What a network's own controller makes of a text's features. Raises RequestError as `check_embedding`."""
    check_embedding(generator, embedding)
    assert isinstance(generator, SharedController)
    head = generator.config
    with torch.inference_mode():
        task = torch.relu(generator.text_to_vision(embedding))
        image, text = generator.controller.weight.flatten(1).split((head.gap_width, head.task_width), 1)
        return Controller(image.clone(), (text @ task + generator.controller.bias).clone())


def check_embedding(generator: ParameterGenerator, embedding: Tensor) -> None:
    """Raise RequestError unless these text features can start a class."""
    head = generator.config
    if head.generator != "shared" or embedding.shape != (head.embedding_width,):
        raise RequestError(
            f"Text can start a class of a shared controller alone, with {head.embedding_width} numbers: this "
            f"network's generator is {head.generator}, and {list(embedding.shape)} were given.",
            about="embedding",
        )


def of_probe(generator: ParameterGenerator, train: Sequence[Samples], random: torch.Generator) -> Controller:
    """A head that answers like a linear probe of the features, whatever the image."""
    head = generator.config
    return Controller(torch.zeros(head.parameters, head.gap_width), head_of(linear_probe(train), head.channels, random))


def at_random(generator: ParameterGenerator, random: torch.Generator) -> Controller:
    """A head of random numbers, whatever the image."""
    head = generator.config
    bias = torch.randn(head.parameters, generator=random) * (2 / head.channels) ** 0.5
    return Controller(torch.zeros(head.parameters, head.gap_width), bias)


def nearest_by_text(generator: ParameterGenerator, embedding: Tensor) -> list[tuple[int, float]]:
    """Heads whose stored text features point most the same way as these, with the cosine of the angle, best first."""
    check_embedding(generator, embedding)
    stored = generator.embedding.detach().float()
    cosines = torch.nn.functional.cosine_similarity(stored, embedding[None].float(), dim=1)
    return sorted(enumerate(cosines.tolist()), key=lambda one: -one[1])
