"""The one place that chooses engine, device, kernels, precision, batch, threads and compilation, with the reasons."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass

import torch

from umlite.errors import DeviceError, RequestError
from umlite.machine.forks import ONE_IS_LEFT, lost_threads
from umlite.machine.threads import available_threads

ENGINES = ("fast", "reference")
KERNELS = ("auto", "native", "torch")
PRECISIONS = ("auto", "float32", "float16", "bfloat16")
DEVICE_TYPES = ("cpu", "cuda", "mps", "xpu")
OLDEST_GPU = (8, 0)  # compute capability of NVIDIA's oldest that Triton supports (its README, "Supported Hardware")
Notify = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How windows will be computed. `reasons`: one sentence per choice.

    batch: windows at a time; 0 where the engine chooses by the device's free memory.
    kernels: "native" (compiled C on a CPU, Triton on a GPU) or "torch". precision: of the backbone, a torch dtype's
    name; heads and sums are float32 always. threads: of a CPU. max_vram: bytes of a GPU's memory to stay under.
    max_ram: bytes of memory for the whole run, of which a native CPU engine takes at most half where it can.
    channels_last: memory format of a GPU's backbone.
    weight_limit_bytes: largest packed weights of a layer that this engine then chose; None for any other engine.
    """

    engine: str
    device: torch.device
    batch: int
    compile: bool
    reasons: tuple[str, ...]
    kernels: str = "torch"
    precision: str = "float32"
    threads: int = 1
    max_vram: int | None = None
    max_ram: int | None = None
    weight_limit_bytes: int | None = None
    channels_last: bool = False


def choose_plan(
    engine: str = "fast",
    device: str = "auto",
    *,
    compile: bool = False,
    batch: int | None = None,
    kernels: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    max_vram: int | None = None,
    max_ram: int | None = None,
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
    if threads is not None and threads > 1 and lost_threads():
        raise DeviceError(
            f"Expected 1 thread, found {threads}: {ONE_IS_LEFT}. Leave the number out, or start processes by spawn or "
            "forkserver."
        )
    if max_ram is not None and max_ram < 1:
        raise RequestError(f"Expected a limit of at least 1 byte of memory, found {max_ram}.")
    if max_vram is not None and max_vram < 1:
        raise RequestError(f"Expected a limit of at least 1 byte of GPU memory, found {max_vram}.")
    chosen, why_device = _choose_device(device)
    if max_vram is not None and chosen.type != "cuda":
        raise RequestError(f"A limit of GPU memory was asked for, and the device is {chosen.type}: leave it out.")
    count, why_threads = (threads, "asked for") if threads else available_threads()
    reasons = [why_device]
    if chosen.type == "cpu":
        reasons.append(f"threads {count}: {why_threads}")
    if engine == "reference":
        if compile or batch not in (None, 1):
            raise RequestError("The reference engine runs eager, window by window: leave out --compile and --batch.")
        if kernels == "native" or precision not in ("auto", "float32"):
            raise RequestError("The reference engine is plain torch in float32: leave out --kernels and --precision.")
        if max_vram is not None:
            raise RequestError("The reference engine keeps no limit of GPU memory: leave it out.")
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
        if chosen.type == "cuda" and not (triton := _triton())[0]:
            raise DeviceError(f"--compile needs Triton on a GPU, but {triton[1]}. Leave it out.")
        reasons.append("torch.compile: asked for; the first window waits for it")
    elif made == "torch" or chosen.type == "cuda":
        reasons.append("no torch.compile: it takes tens of seconds, which --compile earns back over many scans")
    last, why_format = _choose_format(chosen, made, kind)
    first = ["fast engine: fused heads of the requested classes", why_kernels, why_precision, *why_format]
    reasons = [*first, *_where_scans_are_resampled(chosen, made), *reasons]
    return Plan(
        *(engine, chosen, batch, compile, tuple(reasons), made, kind, count, max_vram, max_ram), channels_last=last
    )


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
        from umlite.cpu.compiler import CompilerError, compiler, load, stems, threaded

        try:
            for stem in stems():
                load(stem, notify)
            alone = "" if threaded() else ", which has no OpenMP: on one thread"
            return True, f"C, compiled by {compiler()[0]}{alone}"
        except CompilerError as error:
            return False, str(error).rstrip(".")
    if device.type == "cuda":
        found, which = _triton()
        if not found:
            return False, which
        capability = torch.cuda.get_device_capability(device)
        if not torch.version.hip and capability < OLDEST_GPU:
            return (
                False,
                f"Triton needs compute capability {_dotted(OLDEST_GPU)}, and this GPU has {_dotted(capability)}",
            )
        return True, f"{which}, compiled at first use; never run on a GPU so far"
    return False, f"there are none for {device.type}"


def _choose_precision(asked: str, device: torch.device, kernels: str) -> tuple[str, str]:
    if asked not in PRECISIONS:
        raise RequestError(f"Unknown precision {asked!r}: expected {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}.")
    half = device.type == "cuda" and kernels == "native"
    if asked in ("float16", "bfloat16") and not half:
        raise RequestError(f"Precision {asked} is for GPUs with native kernels; here it is float32.")
    if asked == "bfloat16" and not _has_bfloat16(device):
        raise RequestError("This GPU only emulates bfloat16, many times slower: ask for float16 or float32.")
    if asked != "auto":
        return asked, f"precision {asked}: asked for"
    if half:
        return "float16", "precision float16: as many digits as TF32, the published default; sums in float32"
    return "float32", "precision float32: what this device computes best"


def _choose_format(device: torch.device, kernels: str, precision: str) -> tuple[bool, list[str]]:
    if device.type != "cuda" or kernels != "native":
        return False, []
    if torch.version.hip:
        return False, ["memory format channels first: MIOpen's, to which torch brings every other"]
    if precision == "float32":
        return False, ["memory format channels first: no tensor cores compute float32, and others read it best so"]
    return True, ["memory format channels last: tensor cores read it without rearranging"]


def _where_scans_are_resampled(device: torch.device, kernels: str) -> list[str]:
    if device.type != "cuda":
        return []
    if kernels == "native":
        return ["resampling on the GPU: of scans that its memory holds, else on the host; of masks on the host"]
    return ["resampling on the host: a GPU needs native kernels for it"]


def _has_bfloat16(device: torch.device) -> bool:
    with torch.cuda.device(device):  # torch answers for the current one
        return torch.cuda.is_bf16_supported(including_emulation=False)


def _choose_batch(device: torch.device, kernels: str) -> tuple[int, str]:
    if device.type == "cuda" and kernels == "native":
        return 0, "batch: what the GPU's free memory holds when the first windows come"
    return 1, "batch 1: windows are normalised one by one, and more at a time gains nothing on a CPU"


def _triton() -> tuple[bool, str]:
    """Whether this Python has Triton, and which, or why not."""
    from umlite.kernels.triton import available

    return available()


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"


def _cpp_compiler() -> str | None:
    return os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++") or shutil.which("c++")
