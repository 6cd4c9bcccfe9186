"""Probabilities on disk are the sigmoid of the blended logits, and a full disk is an OutputError."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import torch

from support.stub_engine import StubEngine
from umlite.errors import OutputError, RequestError
from umlite.sweep.adaptive.decide import decide_adaptively
from umlite.sweep.probability_file import ProbabilityFile
from umlite.sweep.sweep import blended_logits, decide_volume


@pytest.mark.parametrize("shape", [(9, 12, 5), (5, 6, 21), (30, 4, 4), (3, 2, 1)])
@pytest.mark.parametrize("kept", [None, 0.0, 1.5])
def test_sigmoid_of_blended_logits(tmp_path: Path, shape: tuple[int, int, int], kept: float | None) -> None:
    """kept: with adaptive windows, of which all run here, and with few sums in memory some run twice."""
    engine = StubEngine((4, 4, 6))
    voxels = torch.rand(shape, generator=torch.Generator().manual_seed(0)).clamp_min(0.1)
    names = ("a", "b")
    with ProbabilityFile(tmp_path, names) as file:
        if kept is None:
            bits, _, _ = decide_volume(engine, voxels, [0, 1], names, 0.5, probabilities=file)
        else:
            options = {"margin": 99.0, "kept_windows": kept}
            bits, _, _ = decide_adaptively(engine, voxels, [0, 1], names, 0.5, probabilities=file, **options)
        assert list(tmp_path.iterdir()) == []  # it has no name
        expected = blended_logits(engine, voxels, [0, 1], 0.5).sigmoid()
        for k, name in enumerate(names):
            found = file.read(name)
            assert found.shape == shape
            assert np.abs(found - 255 * expected[k].numpy()).max() < 0.51
            assert np.count_nonzero((found > 127) != bits.mask(name)) <= 1
        with pytest.raises(RequestError, match="No probabilities of 'c'"):
            file.read("c")


def test_where_no_window_ran_the_probability_is_0(tmp_path: Path) -> None:
    engine, voxels = StubEngine((4, 4, 4)), torch.zeros(16, 4, 4)
    voxels[:4] = 0.5
    with ProbabilityFile(tmp_path, ("a",)) as file:
        decide_adaptively(engine, voxels, [0], ("a",), 0.5, probabilities=file, margin=-9.0)
        found = file.read("a")
    assert found[:4].all()
    assert not found[4:].any()


def test_an_empty_volume(tmp_path: Path) -> None:
    with ProbabilityFile(tmp_path, ("a",)) as file:
        decide_volume(StubEngine((4, 4, 4)), torch.zeros(0, 0, 0), [0], ("a",), 0.5, probabilities=file)
        assert file.read("a").shape == (0, 0, 0)


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with ProbabilityFile(tmp_path, ("a",)) as file:
        monkeypatch.setattr(file, "_replace", full)
        with pytest.raises(OutputError, match="disk is full"):
            decide_volume(StubEngine((4, 4, 4)), torch.rand(8, 4, 4), [0], ("a",), 0.5, probabilities=file)
    with pytest.raises(OutputError):
        ProbabilityFile(tmp_path / "absent", ("a",)).begin((1, 2, 3), 0)
