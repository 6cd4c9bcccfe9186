"""What must hold before anything is timed: every kernel against its reference, a window against the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.gpu_cases import Case
from umlite.engines.build import build_engine
from umlite.engines.engine import Engine
from umlite.engines.options import EngineOptions
from umlite.engines.setup import Setup
from umlite.gpu.precision import exact_float32

REPEATS = 3
WORST = {"float32": 1e-3, "float16": 0.3}
RMS = {"float32": 1e-4, "float16": 0.03}
"""Of a class's standard deviation. float16: twice what rounding every layer to it did to the published networks with
random weights (largest 0.149 and 0.049, root mean square 0.012 and 0.006); LOG.md, "Half precision, simulated"."""


@dataclass(frozen=True)
class Check:
    """One comparison. error: the largest found, allowed: the largest that passes. fault: what else is wrong."""

    name: str
    error: float
    allowed: float
    fault: str = ""

    @property
    def passed(self) -> bool:
        return self.error <= self.allowed and not self.fault  # false for NaN

    def to_dict(self) -> dict[str, Any]:
        error = self.error if self.error < float("inf") else None
        return {"name": self.name, "error": error, "allowed": self.allowed, "fault": self.fault, "passed": self.passed}

    def __str__(self) -> str:
        verdict = "ok" if self.passed else f"FAILED {self.fault}".rstrip()
        return f"{self.name:46s}{self.error:10.1e} of {self.allowed:8.1e}  {verdict}"


def check_kernel(case: Case) -> Check:
    """Largest difference from the reference, by its largest magnitude; and whether runs repeat to the bit.

    A kernel whose programs race answers differently from time to time. One that raises is a failed check: the first
    run on a GPU should tell of every kernel.
    """
    try:
        with torch.inference_mode(), exact_float32():
            expected = case.expected()
            answers = [case.answer() for _ in range(REPEATS)]
    except Exception as error:
        return Check(case.name, float("inf"), case.tolerance, _said(error))
    error = max(_relative(a, e) for a, e in zip(answers[0], expected, strict=True))
    same = all(torch.equal(a, b) for other in answers[1:] for a, b in zip(answers[0], other, strict=True))
    return Check(case.name, error, case.tolerance, "" if same else "runs differ from each other")


def oracle(weights: Path, windows: Tensor, classes: Sequence[int]) -> Tensor:
    """The reference engine's logits of windows [N, 1, D, H, W], on the CPU."""
    engine = build_engine(weights, Setup(EngineOptions(engine="reference", batch=1), torch.device("cpu")))
    return engine.window_logits(windows.cpu(), classes)


def check_window(engine: Engine, expected: Tensor, windows: Tensor, classes: Sequence[int]) -> list[Check]:
    """The engine's logits of windows [N, 1, D, H, W] against those of `oracle`.

    An engine that raises is a failed check, as a kernel is.
    """
    expected = expected.transpose(0, 1).flatten(1)
    precision = engine.setup.options.precision
    name = f"{engine.card.name} in {precision}"
    try:
        found = engine.window_logits(windows, classes).transpose(0, 1).flatten(1).cpu()
    except Exception as error:
        return [Check(name, float("inf"), WORST[precision], _said(error))]
    difference = (found - expected) / expected.std(1, keepdim=True)
    return [
        Check(f"{name}, largest", float(difference.abs().max()), WORST[precision]),
        Check(f"{name}, root mean square", float(difference.square().mean().sqrt()), RMS[precision]),
    ]


def _said(error: Exception) -> str:
    """On one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _relative(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        return float("inf")
    scale = float(expected.abs().max()) or 1.0
    return float((found.double() - expected.double()).abs().max()) / scale
