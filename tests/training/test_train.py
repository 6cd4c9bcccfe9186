from __future__ import annotations

import copy
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from umlite.errors import InputError, OutputError
from umlite.models.universal import UniversalModel
from umlite.training.checkpoint import CHECKPOINT, averaged_weights, write_checkpoint
from umlite.training.dataset import Batch, WindowStream
from umlite.training.schedule import TrainingOptions
from umlite.training.train import LOG, Training


def test_training_lowers_the_loss(
    model: UniversalModel, stream: WindowStream, validation: list[Batch], start: Callable[..., Training]
) -> None:
    training = start(model, steps=24, log_every=6)
    training.run(stream, validation)
    entries = [json.loads(line) for line in (training.folder / LOG).read_text().splitlines()]
    losses = [entry["loss"] for entry in entries if entry["kind"] == "train"]
    assert losses[-1] < 0.8 * losses[0]
    (dice,) = [entry["dice"] for entry in entries if entry["kind"] == "validation"]
    assert dice["liver"] > 0.3


def test_resumed_run_equals_an_uninterrupted_one(
    model: UniversalModel, stream: WindowStream, start: Callable[..., Training]
) -> None:
    if "MKL_CBWR" not in os.environ:  # MKL rounds by where memory happens to lie, unless told before it loads
        this = f"{__file__}::{test_resumed_run_equals_an_uninterrupted_one.__name__}"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", this]
        subprocess.run(command, env={**os.environ, "MKL_CBWR": "COMPATIBLE"}, check=True, timeout=120)
        return
    whole = start(copy.deepcopy(model), "whole", steps=6)
    whole.run(stream)
    start(copy.deepcopy(model), "parts", steps=6).run(stream, until=3)
    resumed = start(copy.deepcopy(model), "parts", steps=6)
    assert resumed.step == 3
    resumed.run(stream)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor), name
        assert torch.equal(resumed.average.tensors[name], whole.average.tensors[name]), name


def test_frozen_parameters_stay(model: UniversalModel, stream: WindowStream, start: Callable[..., Training]) -> None:
    model.backbone.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    start(model, steps=4, supervision=0).run(stream)
    for name, tensor in model.state_dict().items():
        frozen = name.startswith("backbone.") or name == "generator.embedding"
        assert torch.equal(tensor, before[name]) == frozen, name


def test_learning_rate_rises_then_falls() -> None:
    options = TrainingOptions(steps=100, warm_up=10, learning_rate=1.0)
    rates = [options.learning_rate_at(step) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert all(a >= b for a, b in itertools.pairwise(rates[9:]))
    assert rates[-1] == pytest.approx(0.01)


def test_learning_rate_stays_until_its_decay() -> None:
    options = TrainingOptions(steps=100, warm_up=10, decay=40, learning_rate=1.0)
    rates = [options.learning_rate_at(step) for step in range(101)]
    assert set(rates[10:61]) == {1.0}
    assert all(a > b for a, b in itertools.pairwise(rates[60:]))
    assert rates[-1] == pytest.approx(0.01)
    longer = TrainingOptions(steps=200, warm_up=10, decay=40, learning_rate=1.0)
    assert [longer.learning_rate_at(step) for step in range(61)] == rates[:61]


def test_checkpoint_of_another_model_is_refused(
    model: UniversalModel, other_model: UniversalModel, stream: WindowStream, start: Callable[..., Training]
) -> None:
    start(model, steps=1).run(stream)
    with pytest.raises(InputError, match=CHECKPOINT):
        start(other_model)


def test_a_refused_checkpoint_keeps_the_last_one(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    write_checkpoint(tmp_path, {"average": {}})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OutputError, match="the file would be larger than is allowed"):
            write_checkpoint(tmp_path, {"average": {"a": torch.rand(10_000)}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert averaged_weights(tmp_path) == {}


def test_damaged_checkpoint_is_refused(
    model: UniversalModel, stream: WindowStream, start: Callable[..., Training]
) -> None:
    training = start(model, steps=1)
    training.run(stream)
    path = training.folder / CHECKPOINT
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=CHECKPOINT):
        start(model)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=CHECKPOINT):
        averaged_weights(training.folder)
