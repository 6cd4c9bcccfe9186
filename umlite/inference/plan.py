"""The one place that chooses engine, device, batch and compilation, and keeps the reasons."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

import torch

from umlite.errors import DeviceError, RequestError

ENGINES = ("fast", "reference")
DEVICE_TYPES = ("cpu", "cuda", "mps", "xpu")


@dataclass(frozen=True)
class Plan:
    """How windows will be computed. `batch`: windows at a time. `reasons`: one sentence per choice."""

    engine: str
    device: torch.device
    batch: int
    compile: bool
    reasons: tuple[str, ...]


def choose_plan(engine: str = "fast", device: str = "auto", *, compile: bool = False, batch: int | None = None) -> Plan:
    """What was asked for, or an error: only `auto` may choose, and it says what and why.

    Raises RequestError on an unknown engine or batch, DeviceError when a device or compiler is not there.
    """
    if engine not in ENGINES:
        raise RequestError(f"Unknown engine {engine!r}: expected {' or '.join(ENGINES)}.")
    if batch is not None and batch < 1:
        raise RequestError(f"Expected a batch of at least 1 window, found {batch}.")
    chosen, why_device = _choose_device(device)
    if engine == "reference":
        if compile or batch not in (None, 1):
            raise RequestError("The reference engine runs eager, window by window: leave out --compile and --batch.")
        why = "reference engine: plain float32, window by window, the oracle of the fast one"
        return Plan(engine, chosen, 1, False, (why, why_device))
    reasons = [
        "fast engine: float32, fused heads of the requested classes, attention without its score matrix",
        why_device,
    ]
    if batch is None:
        batch = 1
        reasons.append("batch 1: windows are normalised one by one, and more at a time gains nothing on a CPU")
    if compile:
        if chosen.type == "cpu" and not _cpp_compiler():
            raise DeviceError("--compile needs a C++ compiler (g++ or clang++, or CXX): none found. Leave it out.")
        reasons.append("torch.compile: asked for; the first window waits for it")
    else:
        reasons.append("no torch.compile: it takes tens of seconds, which --compile earns back over many scans")
    return Plan(engine, chosen, batch, compile, tuple(reasons))


def _choose_device(name: str) -> tuple[torch.device, str]:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda"), f"device cuda: {torch.cuda.get_device_name()} found (this path is untested)"
        return torch.device("cpu"), f"device cpu: no CUDA device found; {torch.get_num_threads()} threads"
    try:
        device = torch.device(name)
        if device.type not in DEVICE_TYPES:
            raise RuntimeError(f"not one of {', '.join(DEVICE_TYPES)}")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        cause = str(error).splitlines()[0].split(". ")[0][:200]
        raise DeviceError(
            f"Cannot use device {name!r} ({cause}). Expected auto, cpu, or a device of this machine."
        ) from error
    untested = "" if device.type == "cpu" else " (this path is untested)"
    return device, f"device {name}: asked for{untested}"


def _cpp_compiler() -> str | None:
    return os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++") or shutil.which("c++")
