"""A short run of every fuzz target; `python -m bench.fuzz TARGET --count 100000` is the long one."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.fuzz import __main__ as fuzz
from bench.fuzz import weights
from umlite.errors import WeightsError

COUNTS = {"card": 300, "safetensors": 80, "checkpoint": 60, "dicom_out": 15}


@pytest.mark.parametrize("target", sorted(fuzz.targets()))
def test_only_typed_errors(target: str, capsys: pytest.CaptureFixture) -> None:
    count = COUNTS.get(target, 100)
    assert fuzz.main([target, "--count", str(count), "--seconds", "60"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["inputs"] == count
    assert report["accepted"]
    assert report["refused"]
    assert not report["failures"]


@pytest.fixture
def free_memory() -> Iterator[None]:
    """Memory that this process freed and that the C library keeps, because what came later is in use."""
    for _ in range(2):  # of the first ones, the C library learns to keep blocks of this size
        blocks = [bytearray(31_000_000) for _ in range(3)]
        later = [bytearray(700_000) for _ in range(50)]
        del blocks
    yield
    del later


@pytest.mark.usefixtures("free_memory")
def test_broken_rules_are_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    numbers = itertools.count()

    def broken(_rng: random.Random, folder: Path) -> Callable[[], None]:
        number = next(numbers)

        def call() -> None:
            if number == 0:
                raise KeyError("untyped")
            while number == 1:
                pass
            if number == 2:
                bytearray(60_000_000)
            if number < 4:
                raise WeightsError(f"as it should be: {folder}")

        return call

    monkeypatch.setattr(weights, "TARGETS", {"broken": broken})
    assert fuzz.main(["broken", "--count", "5", "--seconds", "1", "--megabytes", "30"]) == 1
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [report["accepted"], report["refused"]] == [1, 1]
    untyped, endless, large = report["failures"]
    assert "input 0: KeyError: 'untyped'" in untyped
    assert "input 1: took more than 1.0 s" in endless
    assert re.match(r"input 2: took [56]\d MB", large)
