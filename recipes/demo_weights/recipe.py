"""How the bundled demo weights are made: network, data and what is written into the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recipes.demo_weights.anatomy import AnatomySource
from recipes.demo_weights.offsets import best_offsets, shift_logits
from umlite.classes import PUBLISHED
from umlite.kernels.implementations import REFERENCE
from umlite.models.config import NetworkConfig
from umlite.models.universal import UniversalModel
from umlite.training.dataset import Batch, Mixture, PhantomSource, Source, WindowStream, fixed_batches
from umlite.training.network import build_small_network
from umlite.training.windows import WindowSampler
from umlite.weights.loading import check_tensors, load_model, save_model
from umlite.weights.model_card import ModelCard

CLASSES = tuple(c.name for c in PUBLISHED)
CHANNELS = (16, 32, 64, 128)
SPACING_MM = (3.0, 3.0, 3.0)
WINDOW = (80, 64, 48)
"""Wide enough to hold the spine wherever it lies in a body: what is left and what is right shows in every window."""
HU_RANGE = (-175.0, 250.0)
PHANTOM_SHARE = 0.8
MORE_LESIONS = 5.0
NATIVE_SHARE, NOISY_SHARE = 0.2, 0.12
"""Beside those that are native or noisy anyway: lesions are hardest there."""
RARE_SHARE, CLASS_SHARE, THIN_SHARE = 0.7, 0.22, 0.1
POOL, WINDOWS_PER_IMAGE = 32, 16
VALIDATION_SEEDS = tuple(range(900_000, 900_012))
"""Training takes seeds from 0 up, validation these, evaluation seeds from a million up."""
NOTICE = "Demo weights, trained on phantoms and one scan: for trying the software only, not for any other use."

_LESIONS = tuple(i for i, c in enumerate(PUBLISHED) if c.kind == "tumor")
_OFTEN = {
    "kidney_tumor": 6.0,
    "pancreas_tumor": 3.5,
    "liver_tumor": 1.5,
    "colon_tumor": 1.5,
    "kidney_cyst": 1.5,
    "lung_tumor": 0.8,
    "bladder": 7.0,
    "prostate": 0.3,
    "left_head_of_femur": 0.3,
    "right_head_of_femur": 0.3,
}
"""How often windows show one against another: the worse it is found, and the fewer phantoms have it, the more."""
_ABSENT = ("hepatic_vessel_tumor",)


def build_model(embedding: Path, seed: int, start: Path | None = None) -> UniversalModel:
    """The network to train. embedding: an .npy file of `embed_classes`. start: weights to begin with, else random ones.

    Raises WeightsError when `start` is damaged or of another network.
    """
    torch.manual_seed(seed)
    model = build_small_network(CHANNELS, torch.from_numpy(np.load(embedding)))
    if start:
        before, _ = load_model(start, REFERENCE)
        check_tensors(model.state_dict(), before.state_dict(), start)
        model.load_state_dict(before.state_dict())
    return model


def build_source(data: Path, seed: int, spacing_mm: float = SPACING_MM[0]) -> Source:
    """Phantoms and images from real anatomy. data: the folder of example_ct and example_structures."""
    phantoms, anatomy = _sources(data, spacing_mm)
    return Mixture((phantoms, anatomy), (PHANTOM_SHARE, 1 - PHANTOM_SHARE), seed)


def build_stream(source: Source, seed: int, workers: int) -> WindowStream:
    """Training windows, of the size that inference takes: the network's norms depend on it."""
    often = {CLASSES.index(name): weight for name, weight in _OFTEN.items()}
    sampler = WindowSampler(WINDOW, HU_RANGE, often, RARE_SHARE, CLASS_SHARE, THIN_SHARE)
    return WindowStream(source, sampler, seed, POOL, WINDOWS_PER_IMAGE, workers)


def class_weights(lesions: float) -> Tensor:
    """Of each class in the loss [classes], float32: that of the lesions, and 1."""
    return torch.tensor([lesions if i in _LESIONS else 1.0 for i in range(len(CLASSES))])


def host_classes() -> Tensor:
    """In which classes each class grows: bool [classes, classes], a row for each class."""
    return torch.tensor([[name in c.hosts for name in CLASSES] for c in PUBLISHED])


def build_validation(data: Path, spacing_mm: float = SPACING_MM[0], windows: int = 4) -> list[Batch]:
    """Fixed windows of held-out phantoms, and of two deformed images of the real anatomy."""
    sampler = WindowSampler(WINDOW, HU_RANGE, dict.fromkeys(_LESIONS, 1.0), augment=False)
    phantoms, anatomy = _sources(data, spacing_mm)
    of_phantoms = fixed_batches(phantoms, sampler, VALIDATION_SEEDS, windows)
    return of_phantoms + fixed_batches(anatomy, sampler, VALIDATION_SEEDS[:2], windows)


def export(tensors: dict[str, Tensor], network: NetworkConfig, path: Path) -> None:
    """Write a weights file, numbers in float16. Raises WeightsError or OutputError as `save_model` does."""
    card = ModelCard("demo", network, CLASSES, SPACING_MM, HU_RANGE, WINDOW, "Apache-2.0", NOTICE)
    save_model(path, {name: tensor.half() for name, tensor in tensors.items()}, card)


def mean_of_weights(first: Path, second: Path, path: Path) -> None:
    """Write the mean of two files of one network, the second trained on from the first (arXiv 2109.01903).

    It keeps more of what the first could do than the second does. Raises WeightsError when they do not fit.
    """
    one, card = load_model(first, REFERENCE)
    other, _ = load_model(second, REFERENCE)
    check_tensors(one.state_dict(), other.state_dict(), second)
    after = other.state_dict()
    export({name: (a + after[name]) / 2 for name, a in one.state_dict().items()}, card.network, path)


def calibrate(weights: Path, phantoms: int, path: Path) -> str:
    """Write the weights with each class's logits shifted by its `best_offsets`, and return those as a table."""
    found = best_offsets(weights, phantoms)
    model, card = load_model(weights, REFERENCE)
    shift_logits(model, {card.classes.index(name): offset for name, (offset, _, _) in found.items()})
    export(model.state_dict(), card.network, path)
    lines = [f"{'class':30} {'offset':>6} {'score':>6} {'with':>6}"]
    lines += [f"{name:30} {offset:+6.2f} {at_0:6.3f} {best:6.3f}" for name, (offset, at_0, best) in found.items()]
    return "\n".join(lines)


def _sources(data: Path, spacing_mm: float) -> tuple[PhantomSource, AnatomySource]:
    phantoms = PhantomSource(CLASSES, (spacing_mm,) * 3, _ABSENT, MORE_LESIONS, NATIVE_SHARE, NOISY_SHARE)
    return phantoms, AnatomySource(data, CLASSES, spacing_mm)
