"""Tiny images and a tiny model, for training in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from support.boxes import CLASSES, Boxes
from umlite.models.config import HeadConfig, NetworkConfig, UNetConfig
from umlite.models.universal import UniversalModel
from umlite.training.dataset import Batch, WindowStream, fixed_batches
from umlite.training.loss import segmentation_loss
from umlite.training.network import untrained_model
from umlite.training.schedule import TrainingOptions
from umlite.training.train import Training
from umlite.training.windows import WindowSampler


def tiny_network(channels: tuple[int, int, int, int]) -> UniversalModel:
    head = HeadConfig(len(CLASSES), "shared", embedding_width=12, task_width=16, hidden_width=0, gap_width=16, groups=8)
    rows = F.normalize(torch.randn(len(CLASSES), 12, generator=torch.Generator().manual_seed(1)))
    return untrained_model(NetworkConfig(UNetConfig(channels), head), rows)


@pytest.fixture(scope="session")
def classes() -> tuple[str, ...]:
    return CLASSES


@pytest.fixture
def source() -> Boxes:
    return Boxes()


@pytest.fixture
def sampler() -> WindowSampler:
    return WindowSampler((24, 24, 24), (-175, 250), rare={4: 1.0})


@pytest.fixture
def stream(source: Boxes, sampler: WindowSampler) -> WindowStream:
    return WindowStream(source, sampler, seed=3, pool=3, windows_per_image=4, workers=0)


@pytest.fixture
def validation(source: Boxes, sampler: WindowSampler) -> list[Batch]:
    return fixed_batches(source, sampler, (100, 101), 2)


@pytest.fixture
def model() -> UniversalModel:
    torch.manual_seed(0)
    return tiny_network((8, 8, 8, 16))


@pytest.fixture
def other_model() -> UniversalModel:
    return tiny_network((8, 8, 8, 8))


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Training]:
    """start(model, folder name, **options): a short training."""

    def start(model: UniversalModel, folder: str = "run", **options: float) -> Training:
        quick = {"steps": 8, "batch": 2, "warm_up": 2, "learning_rate": 1e-2, "log_every": 4, **options}
        settings = TrainingOptions(**quick)  # type: ignore[arg-type]
        return Training(model, CLASSES, segmentation_loss, settings, tmp_path / folder, threads=2)

    return start
