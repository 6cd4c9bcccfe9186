"""A tiny anatomy, also as the files that the recipe reads, and a tiny network."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recipes.demo_weights.anatomy import Anatomy, build_anatomy
from umlite.models.config import HeadConfig, NetworkConfig, UNetConfig
from umlite.models.universal import UniversalModel
from umlite.training.network import untrained_model

CLASSES = ("liver", "spleen", "left_kidney", "right_kidney", "liver_tumor")
NAMES = {1: "liver", 2: "spleen", 3: "kidney_left", 4: "kidney_right", 5: "vertebrae_L1"}
SPACING_MM = 8.0


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
    return build_anatomy(hu, structures, NAMES, CLASSES, SPACING_MM)


@pytest.fixture(scope="session")
def data(anatomy: Anatomy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `--data` names, with the tiny anatomy in it."""
    folder = tmp_path_factory.mktemp("data")
    affine = np.diag([SPACING_MM] * 3 + [1.0])
    nib.save(nib.Nifti1Image(anatomy.hu.astype(np.int16), affine), folder / "example_ct.nii.gz")
    nib.save(nib.Nifti1Image(anatomy.structures, affine), folder / "example_structures.nii.gz")
    table = {number: {"name": name} for number, name in NAMES.items()}
    (folder / "example_structures.json").write_text(json.dumps(table))
    return folder


@pytest.fixture
def embedding(tmp_path: Path) -> Path:
    path = tmp_path / "embedding.npy"
    np.save(path, np.random.default_rng(0).normal(size=(32, 384)).astype(np.float32) / 384**0.5)
    return path


@pytest.fixture
def model() -> UniversalModel:
    torch.manual_seed(0)
    head = HeadConfig(len(CLASSES), "shared", embedding_width=12, task_width=16, hidden_width=0, gap_width=16, groups=8)
    rows = F.normalize(torch.randn(len(CLASSES), 12))
    return untrained_model(NetworkConfig(UNetConfig((8, 8, 8, 16)), head), rows)
