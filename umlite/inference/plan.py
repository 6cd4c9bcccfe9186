"""The one place that chooses engine, device, kernels, precision, batch, threads and compilation, with the reasons."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass

import torch

from umlite.errors import DeviceError, RequestError
from umlite.inference.threads import available_threads

ENGINES = ("fast", "reference")
KERNELS = ("auto", "native", "torch")
PRECISIONS = ("auto", "float32", "float16", "bfloat16")
DEVICE_TYPES = ("cpu", "cuda", "mps", "xpu")
Notify = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How windows will be computed. `reasons`: one sentence per choice.

    batch: windows at a time; 0 where the engine chooses by the device's free memory.
    kernels: "native" (compiled C on a CPU, Triton on a GPU) or "torch". precision: of the backbone, a torch dtype's
    name; heads and sums are float32 always. threads: of a CPU.
    """

    engine: str
    device: torch.device
    batch: int
    compile: bool
    reasons: tuple[str, ...]
    kernels: str = "torch"
    precision: str = "float32"
    threads: int = 1


def choose_plan(
    engine: str = "fast",
    device: str = "auto",
    *,
    compile: bool = False,
    batch: int | None = None,
    kernels: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    notify: Notify | None = None,
) -> Plan:
    """What was asked for, or an error: only `auto` may choose, and it says what and why.

    notify: gets one sentence where this takes longer than usual: the first build of the C kernels.
    Raises RequestError on an unknown name or number, DeviceError when a device, compiler or kernel is not there.
    """
    for name, value, known in (("engine", engine, ENGINES), ("kernels", kernels, KERNELS)):
        if value not in known:
            raise RequestError(f"Unknown {name} {value!r}: expected {', '.join(known[:-1])} or {known[-1]}.")
    if batch is not None and batch < 1:
        raise RequestError(f"Expected a batch of at least 1 window, found {batch}.")
    if threads is not None and threads < 1:
        raise RequestError(f"Expected at least 1 thread, found {threads}.")
    chosen, why_device = _choose_device(device)
    count, why_threads = (threads, "asked for") if threads else available_threads()
    reasons = [why_device]
    if chosen.type == "cpu":
        reasons.append(f"threads {count}: {why_threads}")
    if engine == "reference":
        if compile or batch not in (None, 1):
            raise RequestError("The reference engine runs eager, window by window: leave out --compile and --batch.")
        if kernels == "native" or precision not in ("auto", "float32"):
            raise RequestError("The reference engine is plain torch in float32: leave out --kernels and --precision.")
        why = "reference engine: plain float32, window by window, the oracle of the fast one"
        return Plan(engine, chosen, 1, False, (why, *reasons), threads=count)
    made, why_kernels = _choose_kernels(kernels, chosen, compile, notify)
    kind, why_precision = _choose_precision(precision, chosen, made)
    if batch is None:
        batch, why_batch = _choose_batch(chosen, made)
        reasons.append(why_batch)
    if compile:
        if chosen.type == "cpu" and not _cpp_compiler():
            raise DeviceError("--compile needs a C++ compiler (g++ or clang++, or CXX): none found. Leave it out.")
        reasons.append("torch.compile: asked for; the first window waits for it")
    elif made == "torch" or chosen.type == "cuda":
        reasons.append("no torch.compile: it takes tens of seconds, which --compile earns back over many scans")
    reasons = ["fast engine: fused heads of the requested classes", why_kernels, why_precision, *reasons]
    return Plan(engine, chosen, batch, compile, tuple(reasons), made, kind, count)


def _choose_device(name: str) -> tuple[torch.device, str]:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda"), f"device cuda: {torch.cuda.get_device_name()} found (this path is untested)"
        return torch.device("cpu"), "device cpu: no CUDA device found"
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


def _choose_kernels(asked: str, device: torch.device, compile: bool, notify: Notify | None) -> tuple[str, str]:
    if asked == "torch":
        return "torch", "kernels torch: asked for"
    found, what = _native_kernels(device, notify)
    if compile and device.type == "cpu":
        found, what = False, "torch.compile was asked for, which is of the torch kernels"
    if found:
        return "native", f"kernels native: {what}"
    if asked == "native":
        raise DeviceError(f"No native kernels: {what}. Leave out --kernels to run on torch operations.")
    return "torch", f"kernels torch, several times slower: {what}"


def _native_kernels(device: torch.device, notify: Notify | None) -> tuple[bool, str]:
    """Whether the device has kernels of ours, and which or why not."""
    if device.type == "cpu":
        from umlite.cpu.compiler import CompilerError, compiler, load, stems

        try:
            for stem in stems():
                load(stem, notify)
            return True, f"C, compiled by {compiler()[0]}"
        except CompilerError as error:
            return False, str(error).rstrip(".")
    return False, f"no engine has any for {device.type} yet"


def _choose_precision(asked: str, device: torch.device, kernels: str) -> tuple[str, str]:
    if asked not in PRECISIONS:
        raise RequestError(f"Unknown precision {asked!r}: expected {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}.")
    half = device.type == "cuda" and kernels == "native"
    if asked in ("float16", "bfloat16") and not half:
        raise RequestError(f"Precision {asked} is for GPUs with native kernels; here it is float32.")
    if asked == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise RequestError("This GPU only emulates bfloat16, many times slower: ask for float16 or float32.")
    if asked != "auto":
        return asked, f"precision {asked}: asked for"
    if half and (torch.version.hip or torch.cuda.get_device_capability(device) >= (7, 0)):
        return "float16", "precision float16: rounds like TF32, the published default; heads and sums in float32"
    return "float32", "precision float32: what this device computes best"


def _choose_batch(device: torch.device, kernels: str) -> tuple[int, str]:
    if device.type == "cuda" and kernels == "native":
        return 0, "batch: as many windows as the GPU's free memory holds"
    return 1, "batch 1: windows are normalised one by one, and more at a time gains nothing on a CPU"


def _cpp_compiler() -> str | None:
    return os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++") or shutil.which("c++")
