"""A tiny anatomy and a tiny model, for training in a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recipes.demo_weights.anatomy import Anatomy, build_anatomy, synthesise
from umlite.models.universal import UniversalModel
from umlite.training.dataset import Batch, WindowStream, fixed_batches
from umlite.training.image import TrainingImage
from umlite.training.network import build_small_network
from umlite.training.schedule import Options
from umlite.training.train import Training
from umlite.training.windows import WindowSampler

CLASSES = ("liver", "spleen", "left_kidney", "right_kidney", "liver_tumor")
NAMES = {1: "liver", 2: "spleen", 3: "kidney_left", 4: "kidney_right", 5: "vertebrae_L1"}


@dataclass(frozen=True)
class TinySource:
    """Deformed images of the tiny anatomy."""

    anatomy: Anatomy

    def make(self, seed: int) -> TrainingImage:
        return synthesise(self.anatomy, 8, np.random.default_rng(seed))


@pytest.fixture(scope="session")
def classes() -> tuple[str, ...]:
    return CLASSES


@pytest.fixture(scope="session")
def anatomy() -> Anatomy:
    """Boxes in a body; the liver lies at high x, the patient's right."""
    structures = np.zeros((30, 26, 24), np.uint8)
    structures[17:26, 8:20, 10:20] = 1
    structures[4:9, 8:14, 12:20] = 2
    structures[5:9, 6:10, 3:9] = 3
    structures[20:24, 6:10, 3:9] = 4
    structures[13:16, 4:8, 2:22] = 5
    hu = np.full(structures.shape, -1000, np.float32)
    hu[2:28, 3:23, :] = -100
    for number, value in {1: 110, 2: 60, 3: 160, 4: 160, 5: 240}.items():
        hu[structures == number] = value
    return build_anatomy(hu, structures, NAMES, CLASSES, spacing_mm=8)


@pytest.fixture
def source(anatomy: Anatomy) -> TinySource:
    return TinySource(anatomy)


@pytest.fixture
def sampler() -> WindowSampler:
    return WindowSampler((24, 24, 24), (-175, 250), rare={4: 1.0})


@pytest.fixture
def stream(source: TinySource, sampler: WindowSampler) -> WindowStream:
    return WindowStream(source, sampler, seed=3, pool=3, windows_per_image=4, workers=0)


@pytest.fixture
def validation(source: TinySource, sampler: WindowSampler) -> list[Batch]:
    return fixed_batches(source, sampler, (100, 101), 2)


@pytest.fixture
def model() -> UniversalModel:
    torch.manual_seed(0)
    return build_small_network((8, 8, 8, 16), F.normalize(torch.randn(len(CLASSES), 12)))


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Training]:
    """start(model, folder name, **options): a short training."""

    def start(model: UniversalModel, folder: str = "run", **options: float) -> Training:
        settings = Options(**{"steps": 8, "batch": 2, "warm_up": 2, "learning_rate": 1e-2, "log_every": 4, **options})  # type: ignore[arg-type]
        return Training(model, CLASSES, settings, tmp_path / folder, threads=2)

    return start
