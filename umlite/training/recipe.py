"""How the bundled demo weights are made: network, data and what is written into the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from umlite.classes import PUBLISHED
from umlite.models.config import NetworkConfig
from umlite.models.universal import UniversalModel
from umlite.training.anatomy import AnatomySource
from umlite.training.dataset import Batch, Mixture, PhantomSource, Source, WindowStream, fixed_batches
from umlite.training.network import build_small_network
from umlite.training.windows import WindowSampler
from umlite.weights.loading import save_model
from umlite.weights.manifest import Manifest

CLASSES = tuple(c.name for c in PUBLISHED)
CHANNELS = (16, 32, 64, 128)
SPACING_MM = (4.5, 4.5, 4.5)
WINDOW = (48, 48, 48)
HU_RANGE = (-175.0, 250.0)
PHANTOM_SHARE = 0.6
POOL, WINDOWS_PER_IMAGE = 32, 12
VALIDATION_SEEDS = tuple(range(900_000, 900_006))
"""Training takes seeds from 0 up, validation these, evaluation seeds from a million up."""
NOTICE = "Demo weights, trained on phantoms and one scan: for trying the software only, not for any other use."

_LESIONS = tuple(i for i, c in enumerate(PUBLISHED) if c.kind == "tumor")
_ABSENT = ("hepatic_vessel_tumor",)


def build_model(embedding: Path, seed: int) -> UniversalModel:
    """The untrained network. embedding: an .npy file of `embed_classes`."""
    torch.manual_seed(seed)
    return build_small_network(CHANNELS, torch.from_numpy(np.load(embedding)))


def build_source(data: Path, seed: int) -> Source:
    """Phantoms and images from real anatomy. data: the folder of example_ct and example_structures."""
    phantoms = PhantomSource(CLASSES, SPACING_MM, _ABSENT)
    return Mixture((phantoms, AnatomySource(data, CLASSES, SPACING_MM[0])), (PHANTOM_SHARE, 1 - PHANTOM_SHARE), seed)


def build_stream(source: Source, seed: int, workers: int, side: int = WINDOW[0]) -> WindowStream:
    """Training windows of side^3 voxels; smaller ones than inference takes make the first part of training cheap."""
    sampler = WindowSampler((side, side, side), HU_RANGE, _LESIONS)
    return WindowStream(source, sampler, seed, POOL, WINDOWS_PER_IMAGE, workers)


def build_validation(data: Path, windows: int = 4) -> list[Batch]:
    """Fixed windows of held-out phantoms, and of two deformed images of the real anatomy."""
    sampler = WindowSampler(WINDOW, HU_RANGE, _LESIONS, augment=False)
    phantoms = fixed_batches(PhantomSource(CLASSES, SPACING_MM, _ABSENT), sampler, VALIDATION_SEEDS, windows)
    return phantoms + fixed_batches(AnatomySource(data, CLASSES, SPACING_MM[0]), sampler, VALIDATION_SEEDS[:2], windows)


def export(tensors: dict[str, Tensor], network: NetworkConfig, path: Path) -> None:
    """Write a weights file, numbers in float16. Raises WeightsError or OutputError as `save_model` does."""
    manifest = Manifest("demo", network, CLASSES, SPACING_MM, HU_RANGE, WINDOW, "Apache-2.0", NOTICE)
    save_model(path, {name: tensor.half() for name, tensor in tensors.items()}, manifest)
