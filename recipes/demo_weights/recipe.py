"""The recipe of the demo weights: network, images, windows and loss."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recipes.demo_weights.anatomy import AnatomySource
from recipes.demo_weights.phantoms import PhantomSource
from recipes.demo_weights.real_scans import RealScanSource
from umlite.classes import PUBLISHED
from umlite.errors import InputError
from umlite.models.config import HeadConfig, NetworkConfig, UNetConfig
from umlite.models.universal import UniversalModel
from umlite.training.dataset import Batch, ImageSource, Mixture, WindowStream, fixed_batches
from umlite.training.loss import Loss, segmentation_loss
from umlite.training.network import untrained_model
from umlite.training.windows import WindowSampler

CLASSES = tuple(c.name for c in PUBLISHED)
NETWORK = NetworkConfig(
    UNetConfig((16, 32, 64, 128)),
    HeadConfig(len(CLASSES), "shared", embedding_width=384, task_width=128, hidden_width=0, gap_width=128, groups=8),
)
SPACING_MM = (3.0, 3.0, 3.0)
WINDOW = (80, 64, 48)
"""Wide enough to hold the spine wherever it lies in a body: every window shows which side is left."""
HU_RANGE = (-175.0, 250.0)

VALIDATION_SEEDS = tuple(range(900_000, 900_012))
CALIBRATION_SEED, EVALUATION_SEED = 900_100, 1_000_000
"""First seeds of the phantoms that offsets are chosen on and that Dice is measured on. Training counts from 0."""

PHANTOM_SHARE, LESSON_SHARE = 0.55, 0.33
"""Shares of the images that come from phantoms and from lessons of real scans; the others come from example_ct."""
MORE_LESIONS = 5.0
NATIVE_SHARE, NOISY_SHARE = 0.2, 0.12
"""Shares of the phantoms made native or noisy, beside those that are so anyway: lesions are hardest to find there."""
RARE_SHARE, CLASS_SHARE = 0.6, 0.32
THIN_SHARE, THIN_SLICES = 0.3, 24
"""Windows of 24 to 69 mm, as short scans give them."""
POOL, WINDOWS_PER_IMAGE = 32, 32

_LESIONS = tuple(i for i, c in enumerate(PUBLISHED) if c.kind == "tumor")
_RARE = {
    "kidney_tumor": 6.0,
    "pancreas_tumor": 3.5,
    "liver_tumor": 1.5,
    "colon_tumor": 1.5,
    "kidney_cyst": 1.5,
    "lung_tumor": 3.0,
    "bladder": 7.0,
    "prostate": 0.3,
    "left_head_of_femur": 0.3,
    "right_head_of_femur": 0.3,
}
"""How often windows show one class against another: the more, the worse it is found and the fewer phantoms have it."""
_ABSENT = ("hepatic_vessel_tumor",)


def build_model(embedding: Path, seed: int) -> UniversalModel:
    """The network with random weights of a seed.

    Args:
        embedding: an .npy file that `embed` wrote.
        seed: of the weights.

    Raises:
        InputError: the file cannot be read or holds something else.
    """
    expected = (len(CLASSES), NETWORK.head.embedding_width)
    try:
        rows = np.load(embedding)
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot read {embedding} as an embedding: {error}. Make one with `embed`.") from error
    if rows.shape != expected:
        raise InputError(f"Expected an embedding of {expected} in {embedding}, found {rows.shape}.")
    torch.manual_seed(seed)
    return untrained_model(NETWORK, torch.from_numpy(rows))


def build_source(data: Path, lessons: Path, seed: int, spacing_mm: float = SPACING_MM[0]) -> ImageSource:
    """Phantoms and images made from real scans.

    Args:
        data: the folder of example_ct and example_structures.
        lessons: the folder of the other scans' lessons.
        seed: of the choice between them.
        spacing_mm: of the images.
    """
    phantoms, anatomy = _sources(data, spacing_mm)
    sources = (phantoms, RealScanSource(lessons, CLASSES, spacing_mm), anatomy)
    return Mixture(sources, (PHANTOM_SHARE, LESSON_SHARE, 1 - PHANTOM_SHARE - LESSON_SHARE), seed)


def build_stream(source: ImageSource, seed: int, workers: int) -> WindowStream:
    """Training windows, as large as those of inference: the network's norms depend on their size."""
    rare = {CLASSES.index(name): weight for name, weight in _RARE.items()}
    sampler = WindowSampler(WINDOW, HU_RANGE, rare, RARE_SHARE, CLASS_SHARE, THIN_SHARE, THIN_SLICES)
    return WindowStream(source, sampler, seed, POOL, WINDOWS_PER_IMAGE, workers)


def build_loss(lesions: float) -> Loss:
    """The loss that the network is trained with. lesions: weight of a lesion's class against an organ's."""
    weights = torch.tensor([lesions if i in _LESIONS else 1.0 for i in range(len(CLASSES))])
    return partial(segmentation_loss, weights=weights, hosts=host_classes())


def host_classes() -> Tensor:
    """Which classes each class grows in: bool [classes, classes], one row per class."""
    return torch.tensor([[name in c.hosts for name in CLASSES] for c in PUBLISHED])


def build_validation(data: Path, spacing_mm: float = SPACING_MM[0], windows: int = 4) -> list[Batch]:
    """Fixed windows of phantoms that no training sees, and of two deformed images of the real scan."""
    sampler = WindowSampler(WINDOW, HU_RANGE, dict.fromkeys(_LESIONS, 1.0), augment=False)
    phantoms, anatomy = _sources(data, spacing_mm)
    of_phantoms = fixed_batches(phantoms, sampler, VALIDATION_SEEDS, windows)
    return of_phantoms + fixed_batches(anatomy, sampler, VALIDATION_SEEDS[:2], windows)


def _sources(data: Path, spacing_mm: float) -> tuple[PhantomSource, AnatomySource]:
    phantoms = PhantomSource(CLASSES, (spacing_mm,) * 3, _ABSENT, MORE_LESIONS, NATIVE_SHARE, NOISY_SHARE)
    return phantoms, AnatomySource(data, CLASSES, spacing_mm)
