"""The only place that chooses device, kernels, precision, batch, threads and compilation, with the reasons."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace

import torch

from umlite.engines.options import EngineOptions
from umlite.errors import DeviceError, RequestError
from umlite.machine.forks import ONE_IS_LEFT, lost_threads
from umlite.machine.threads import available_threads
from umlite.progress import Notify, no_notice

DEVICE_TYPES = ("cpu", "cuda", "mps", "xpu")
OLDEST_GPU = (8, 0)  # least compute capability that Triton supports (its README, "Supported Hardware")


@dataclass(frozen=True)
class Setup:
    """How windows will be computed: the options with every `auto` decided, and one sentence per choice.

    Args:
        options: the options with every choice made. `kernels` is "native" or "torch"; `precision` is the backbone's
            dtype (heads and sums are always float32); `threads` is a number; `batch` is None if the engine goes by the
            device's free memory.
        device: the torch device of `options.device`.
        reasons: one sentence per choice.
        channels_last: whether a GPU's backbone runs channels last.
        weight_limit_bytes: limit of a layer's packed weights that a native CPU engine chose; None for other engines.
    """

    options: EngineOptions
    device: torch.device
    reasons: tuple[str, ...] = ()
    channels_last: bool = False
    weight_limit_bytes: int | None = None

    @property
    def threads(self) -> int:
        """CPU threads to use."""
        return self.options.threads or available_threads()[0]


def choose_setup(asked: EngineOptions | None = None, notify: Notify = no_notice) -> Setup:
    """Decide everything that the options leave open. What they ask for by name is used, or raises.

    Args:
        asked: the options; defaults if None.
        notify: gets a sentence before the C kernels are built, which takes a while once per machine, and one if there
            are none, so that windows take longer.

    Returns:
        The setup, with one sentence per choice.

    Raises:
        RequestError: options that contradict each other.
        DeviceError: a device, compiler or kernel that was asked for and is missing.
    """
    asked = asked or EngineOptions()
    if asked.threads is not None and asked.threads > 1 and lost_threads():
        raise DeviceError(
            f"Expected 1 thread, found {asked.threads}: {ONE_IS_LEFT}. Leave the number out, or start processes by "
            "spawn or forkserver.",
            about="threads",
        )
    device, why_device = _choose_device(asked.device)
    if asked.max_vram is not None and device.type != "cuda":
        raise RequestError(
            f"A limit of GPU memory needs a CUDA device, but the device is {device.type}.", about=("max_vram", "device")
        )
    threads, why_threads = (asked.threads, "asked for") if asked.threads else available_threads()
    reasons = [why_device]
    if device.type == "cpu":
        reasons.append(f"threads {threads}: {why_threads}")
    options = replace(asked, device=str(device), threads=threads)
    if asked.engine == "reference":
        _check_reference(asked)
        why = "reference engine: plain float32, window by window; the fast engine is tested against it"
        return Setup(replace(options, kernels="torch", precision="float32", batch=1), device, (why, *reasons))
    kernels, why_kernels = _choose_kernels(asked.kernels, device, asked.compile, notify)
    precision, why_precision = _choose_precision(asked.precision, device, kernels)
    batch = asked.batch
    if batch is None:
        batch, why_batch = _choose_batch(device, kernels)
        reasons.append(why_batch)
    if asked.compile:
        _check_compile(device)
        reasons.append("torch.compile: asked for; the first window waits for it")
    elif kernels == "torch" or device.type == "cuda":
        reasons.append("no torch.compile: it takes tens of seconds, which pays only over many scans")
    channels_last, why_format = _choose_format(device, kernels, precision)
    first = ["fast engine: fused heads of the requested classes", why_kernels, why_precision, *why_format]
    reasons = [*first, *_where_scans_are_resampled(device, kernels), *reasons]
    options = replace(options, kernels=kernels, precision=precision, batch=batch)
    return Setup(options, device, tuple(reasons), channels_last)


def _check_reference(asked: EngineOptions) -> None:
    """Raise RequestError for options that the reference engine does not have."""
    if asked.compile or asked.batch not in (None, 1):
        raise RequestError(
            "The reference engine computes window by window, without compilation: leave both options out.",
            about=("batch", "compile"),
        )
    if asked.kernels == "native" or asked.precision not in ("auto", "float32"):
        raise RequestError(
            "The reference engine is plain torch in float32: leave kernels and precision out.",
            about=("kernels", "precision"),
        )
    if asked.max_vram is not None:
        raise RequestError("The reference engine keeps no limit of GPU memory: leave it out.", about="max_vram")


def _check_compile(device: torch.device) -> None:
    if device.type == "cpu" and not _cpp_compiler():
        raise DeviceError(
            "torch.compile needs a C++ compiler (g++, clang++ or $CXX), and none was found.", about="compile"
        )
    if device.type == "cuda" and not (triton := _triton())[0]:
        raise DeviceError(f"torch.compile needs Triton on a GPU, but {triton[1]}.", about="compile")


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
            f"Cannot use device {name!r} ({cause}). Expected auto, cpu, or a device of this machine.", about="device"
        ) from error
    untested = "" if device.type == "cpu" else " (this path is untested)"
    return device, f"device {name}: asked for{untested}"


def _choose_kernels(asked: str, device: torch.device, compile: bool, notify: Notify) -> tuple[str, str]:
    if asked == "torch":
        return "torch", "kernels torch: asked for"
    found, what = _native_kernels(device, notify)
    if compile and device.type == "cpu":
        found, what = False, "torch.compile was asked for, which only works with torch kernels"
    if found:
        return "native", f"kernels native: {what}"
    if asked == "native":
        raise DeviceError(f"No native kernels: {what}. Kernels 'torch' and 'auto' run without them.", about="kernels")
    if device.type == "cpu" and not compile:
        notify(f"Windows run on torch operations, several times slower than on compiled kernels: {what}.")
    return "torch", f"kernels torch, several times slower: {what}"


def _native_kernels(device: torch.device, notify: Notify) -> tuple[bool, str]:
    """Whether umlite has kernels for the device, and which, or why not."""
    if device.type == "cpu":
        from umlite.cpu.compiler import CompilerError
        from umlite.cpu.libraries import description, load, stems

        try:
            for stem in stems():
                load(stem, notify)
            return True, description()
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
    half = device.type == "cuda" and kernels == "native"
    if asked in ("float16", "bfloat16") and not half:
        raise RequestError(f"Precision {asked} needs a GPU with native kernels; here it is float32.", about="precision")
    if asked == "bfloat16" and not _has_bfloat16(device):
        raise RequestError(
            "This GPU only emulates bfloat16, many times slower: ask for float16 or float32.", about="precision"
        )
    if asked != "auto":
        return asked, f"precision {asked}: asked for"
    if half:
        return "float16", "precision float16: as many digits as TF32, the published default; sums are float32"
    return "float32", "precision float32: what this device computes best"


def _choose_format(device: torch.device, kernels: str, precision: str) -> tuple[bool, list[str]]:
    if device.type != "cuda" or kernels != "native":
        return False, []
    if torch.version.hip:
        return False, ["memory format channels first: MIOpen needs it, and torch would convert any other"]
    if precision == "float32":
        return False, ["memory format channels first: best without tensor cores, which do not compute float32"]
    return True, ["memory format channels last: tensor cores read it without rearranging"]


def _where_scans_are_resampled(device: torch.device, kernels: str) -> list[str]:
    if device.type != "cuda":
        return []
    if kernels == "native":
        return ["resampling: scans on the GPU if its memory holds them, else on the host; masks on the host"]
    return ["resampling on the host: on a GPU it needs native kernels"]


def _has_bfloat16(device: torch.device) -> bool:
    with torch.cuda.device(device):  # torch answers for the current device
        return torch.cuda.is_bf16_supported(including_emulation=False)


def _choose_batch(device: torch.device, kernels: str) -> tuple[int | None, str]:
    if device.type == "cuda" and kernels == "native":
        return None, "batch: as many windows as the GPU's free memory holds at the start"
    return 1, "batch 1: windows are normalised one by one, and larger batches are no faster on a CPU"


def _triton() -> tuple[bool, str]:
    """Whether Triton is installed, and its version, or why it cannot be used."""
    from umlite.kernels.triton import available

    return available()


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"


def _cpp_compiler() -> str | None:
    return os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++") or shutil.which("c++")
