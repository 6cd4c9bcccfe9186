"""Weights files of the demo network: written, read to train on from, averaged and calibrated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from recipes.demo_weights.offsets import best_offsets, shift_logits
from recipes.demo_weights.recipe import CLASSES, HU_RANGE, NETWORK, SPACING_MM, WINDOW
from umlite.errors import WeightsError
from umlite.kernels.implementations import REFERENCE
from umlite.models.universal import UniversalModel
from umlite.weights.loading import load_model, save_model
from umlite.weights.model_card import ModelCard

NOTICE = "Demo weights, trained on phantoms and a few scans: for trying the software only, not for any other use."


def export(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a weights file in float16. Raises WeightsError or OutputError as `save_model` does."""
    card = ModelCard("demo", NETWORK, CLASSES, SPACING_MM, HU_RANGE, WINDOW, "Apache-2.0", NOTICE)
    save_model(path, {name: tensor.half() for name, tensor in tensors.items()}, card)


def load_network(path: Path) -> UniversalModel:
    """The demo network with a file's weights, ready to be trained on.

    Raises:
        WeightsError: the file is damaged or holds another network.
    """
    model, card = load_model(path, REFERENCE)
    if (card.network, card.classes) != (NETWORK, CLASSES):
        raise WeightsError(f"Expected the network of the demo weights, found another one in {path}.")
    return model.requires_grad_(True)


def mean_of_weights(first: Path, second: Path, path: Path) -> None:
    """Write the mean of two files, the second trained on from the first (arXiv 2109.01903).

    The mean keeps more of what the first file was good at. Raises WeightsError as `load_network` does.
    """
    one, other = (load_network(file).state_dict() for file in (first, second))
    export({name: (tensor + other[name]) / 2 for name, tensor in one.items()}, path)


def calibrate(weights: Path, phantoms: int, path: Path) -> str:
    """Write the weights with every class's logits shifted by its `best_offsets`, and return those as a table."""
    model = load_network(weights)
    found = best_offsets(weights, phantoms)
    shift_logits(model, {CLASSES.index(name): best.offset for name, best in found.items()})
    export(model.state_dict(), path)
    lines = [f"{'class':30} {'offset':>6} {'score':>6} {'with':>6}"]
    lines += [f"{name:30} {b.offset:+6.2f} {b.score_before:6.3f} {b.score:6.3f}" for name, b in found.items()]
    return "\n".join(lines)
