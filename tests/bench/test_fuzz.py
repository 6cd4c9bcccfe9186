"""A short run of every fuzz target; `python -m bench.fuzz TARGET --count 100000` is the long one."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from bench.fuzz import __main__ as fuzz
from bench.fuzz import weights
from umlite.errors import WeightsError

COUNTS = {"card": 300, "safetensors": 80, "checkpoint": 60}


@pytest.mark.parametrize("target", sorted(fuzz.targets()))
def test_only_typed_errors(target: str, capsys: pytest.CaptureFixture) -> None:
    count = COUNTS.get(target, 100)
    assert fuzz.main([target, "--count", str(count), "--seconds", "60"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["inputs"] == count
    assert report["accepted"]
    assert report["refused"]
    assert not report["failures"]


def test_a_broken_rule_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def broken(rng: random.Random, folder: Path):
        kind = rng.randrange(4)

        def call() -> None:
            if kind == 0:
                raise KeyError("untyped")
            if kind == 1:
                while True:
                    pass
            if kind == 2:
                bytearray(60_000_000)
            raise WeightsError(f"as it should be: {folder}")

        return call

    monkeypatch.setattr(weights, "TARGETS", {"broken": broken})
    assert fuzz.main(["broken", "--count", "16", "--seconds", "0.2", "--megabytes", "30"]) == 1
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["refused"]
    told = " ".join(report["failures"])
    assert "KeyError: 'untyped'" in told
    assert "more than 0.2 s" in told
    assert "MB" in told
