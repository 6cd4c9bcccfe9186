"""Kinds of damage that a checkpoint can have without failing to load, done to a U-Net with a shared generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor

from umlite.models.universal import UniversalModel

Tensors = Mapping[str, Tensor]
LEVELS = ("down_tr64", "down_tr128", "down_tr256", "down_tr512", "up_tr256", "up_tr128", "up_tr64")
PAIRS = (("right_kidney", "left_kidney"), ("right_lung", "left_lung"))


def untrained(*parts: str) -> Callable[[Tensors, Generator], None]:
    """Random weights, as training starts from, in all tensors whose names start so."""

    def damage(tensors: Tensors, random: Generator) -> None:
        for name, tensor in tensors.items():
            if name.startswith(parts):
                _untrain(name, tensor, random)

    return damage


def one_untrained_level(tensors: Tensors, random: Generator) -> None:
    untrained(f"backbone.{_one_of(LEVELS, random)}.")(tensors, random)


def one_untrained_convolution(tensors: Tensors, random: Generator) -> None:
    untrained(_one_of(_convolutions(tensors), random))(tensors, random)


def two_layers_swapped(tensors: Tensors, random: Generator) -> None:
    _swap(tensors, *_one_of(_twins(tensors), random))


def all_layers_swapped(tensors: Tensors, random: Generator) -> None:  # noqa: ARG001
    for pair in _twins(tensors):
        _swap(tensors, *pair)


def skips_before_upsampled(tensors: Tensors, random: Generator) -> None:  # noqa: ARG001
    """The halves of every concatenation in the other order."""
    for name, tensor in tensors.items():
        if ".up_tr" in name and name.endswith("ops.0.conv1.weight"):
            tensor.copy_(tensor.roll(len(tensor), dims=1))


def axes_turned(tensors: Tensors, random: Generator) -> None:  # noqa: ARG001
    for name in _convolutions(tensors):
        tensors[name].copy_(tensors[name].transpose(2, 4).clone())


def kernels_flipped(tensors: Tensors, random: Generator) -> None:  # noqa: ARG001
    for name in _convolutions(tensors):
        tensors[name].copy_(tensors[name].flip(2, 3, 4))


def norms_missing(tensors: Tensors, random: Generator) -> None:  # noqa: ARG001
    for name, tensor in tensors.items():
        if ".bn1." in name:
            tensor.fill_(float(name.endswith("weight")))


def text_missing(tensors: Tensors, random: Generator) -> None:  # noqa: ARG001
    tensors["generator.embedding"].zero_()


def text_of_another_model(tensors: Tensors, random: Generator) -> None:
    text = tensors["generator.embedding"]
    other = torch.randn(text.shape, generator=random)
    text.copy_(other / other.norm(dim=1, keepdim=True) * text.norm(dim=1).mean())


def classes_shifted(tensors: Tensors, random: Generator) -> None:  # noqa: ARG001
    """As when a background class is counted."""
    tensors["generator.embedding"].copy_(tensors["generator.embedding"].roll(1, 0))


def classes_shuffled(tensors: Tensors, random: Generator) -> None:
    text = tensors["generator.embedding"]
    text.copy_(text[torch.randperm(len(text), generator=random)])


def sign_turned(tensors: Tensors, random: Generator) -> None:  # noqa: ARG001
    tensors["head_input.2.weight"].neg_()


def features_missing(tensors: Tensors, random: Generator) -> None:  # noqa: ARG001
    tensors["head_input.2.weight"].zero_()


def noise(share: float) -> Callable[[Tensors, Generator], None]:
    """Noise of `share` of each tensor's spread."""

    def damage(tensors: Tensors, random: Generator) -> None:
        for tensor in tensors.values():
            if tensor.ndim > 1:
                tensor.add_(torch.randn(tensor.shape, generator=random) * tensor.std() * share)

    return damage


def half_as_strong(tensors: Tensors, random: Generator) -> None:  # noqa: ARG001
    for name, tensor in tensors.items():
        if name.startswith("generator.controller"):
            tensor.mul_(0.5)


def sides_swapped(*places: tuple[int, int]) -> Callable[[Tensors, Generator], None]:
    """Classes at `places` under each other's text."""

    def damage(tensors: Tensors, random: Generator) -> None:  # noqa: ARG001
        text = tensors["generator.embedding"]
        for a, b in places:
            text[[a, b]] = text[[b, a]]

    return damage


def kinds(classes: tuple[str, ...]) -> dict[str, Callable[[Tensors, Generator], None]]:
    """Every kind of damage by name, for a network of these classes. The last three leave a network that works."""
    kidneys, lungs = ((classes.index(right), classes.index(left)) for right, left in PAIRS)
    return {
        "everything untrained": untrained("backbone.", "generator.", "head_input."),
        "backbone untrained": untrained("backbone."),
        "encoder untrained": untrained("backbone.down"),
        "decoder untrained": untrained("backbone.up"),
        "bottleneck untrained": untrained("backbone.down_tr512"),
        "one level untrained": one_untrained_level,
        "one convolution untrained": one_untrained_convolution,
        "two layers swapped": two_layers_swapped,
        "all like layers swapped": all_layers_swapped,
        "skips before upsampled": skips_before_upsampled,
        "axes of kernels turned": axes_turned,
        "kernels flipped": kernels_flipped,
        "norms missing": norms_missing,
        "text missing": text_missing,
        "text of another model": text_of_another_model,
        "text layer untrained": untrained("generator.text_to_vision"),
        "controller untrained": untrained("generator.controller"),
        "head input untrained": untrained("head_input."),
        "features missing": features_missing,
        "sign turned": sign_turned,
        "classes shifted by one": classes_shifted,
        "classes shuffled": classes_shuffled,
        "sides swapped": sides_swapped(kidneys, lungs),
        "kidneys swapped": sides_swapped(kidneys),
        "lungs swapped": sides_swapped(lungs),
        "noise of 100 %": noise(1.0),
        "noise of 30 %": noise(0.3),
        "image vector untrained": untrained("generator.gap"),
        "controller half as strong": half_as_strong,
    }


def damaged(model: UniversalModel, damage: Callable[[Tensors, Generator], None], seed: int) -> dict[str, Tensor]:
    """The model's tensors with this damage."""
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    damage(tensors, Generator().manual_seed(seed))
    return tensors


def _untrain(name: str, tensor: Tensor, random: Generator) -> None:
    if tensor.ndim > 1:
        tensor.copy_(torch.randn(tensor.shape, generator=random) * (2 / tensor[0].numel()) ** 0.5)
    else:
        tensor.fill_(float(name.endswith("weight")))


def _convolutions(tensors: Tensors) -> list[str]:
    return [n for n in tensors if n.startswith("backbone.") and tensors[n].ndim == 5 and tensors[n].shape[-1] == 3]


def _twins(tensors: Tensors) -> list[tuple[str, str]]:
    """Pairs of convolutions of one shape."""
    names = _convolutions(tensors)
    return [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if tensors[a].shape == tensors[b].shape]


def _swap(tensors: Tensors, a: str, b: str) -> None:
    kept = tensors[a].clone()
    tensors[a].copy_(tensors[b])
    tensors[b].copy_(kept)


def _one_of(options: list | tuple, random: Generator):
    return options[int(torch.randint(len(options), (1,), generator=random))]
