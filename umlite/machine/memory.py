"""Memory: what this process holds, what it held at most, and what it can still take."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from umlite.errors import DeviceError
from umlite.machine.control_groups import memory_left
from umlite.machine.sizes import format_size

if TYPE_CHECKING:
    import torch

MEMINFO = Path("/proc/meminfo")
STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
_LOADING_FAILED = ("failed to map segment", "annot allocate memory", "cannot create shared object descriptor")
_NEARLY_NOTHING = 64 << 20
_TORCH_BYTES = 600 << 20


def start_peak() -> bool:
    """Forget the peak so far. False where the system cannot: the next `peak_bytes` is then since the process began."""
    try:
        CLEAR.write_text("5")  # proc(5): resets the peak resident set size
    except OSError:
        return False
    return True


def peak_bytes() -> int:
    """The largest resident set since `start_peak`, in bytes; since the process began where that did nothing."""
    return _fields(STATUS).get("VmHWM") or _lifetime_peak()


def resident_bytes() -> int:
    """The resident set of this moment, in bytes; the largest so far where the system does not tell."""
    return _fields(STATUS).get("VmRSS") or _lifetime_peak()


def check_memory(wanted: int, device: torch.device, purpose: str) -> None:
    """Raise DeviceError when `wanted` bytes are more than a device has free; pass where that is unknown."""
    free = free_bytes(device)
    if free is not None and wanted > free:
        raise DeviceError(
            f"{purpose} needs {format_size(wanted)}, and {format_size(free)} are free. Ask for fewer classes at a "
            "time, or use a machine with more memory.",
            about="classes",
        )


def check_address_space() -> None:
    """Raise DeviceError where the address space has no room for torch, which ends the process when it is loaded so."""
    left = _address_space_left()
    if left is not None and left < _TORCH_BYTES and "torch" not in sys.modules:
        raise DeviceError(
            f"Too little memory: {format_size(left)} of address space are left, and the program alone takes "
            f"{format_size(_TORCH_BYTES)}. Allow this process more address space."
        )


def free_bytes(device: torch.device) -> int | None:
    """Bytes that this process can still take on a CUDA device or, on Linux, of the machine; None where unknown.

    On the machine, limits of control groups and of the process's address space count too.
    """
    if device.type == "cuda":
        return available_bytes(device)
    if device.type != "cpu":
        return None
    known = [n for n in (_fields(MEMINFO).get("MemAvailable"), memory_left(), _address_space_left()) if n is not None]
    return min(known, default=None)


def refused(size: int, purpose: str) -> DeviceError:
    """The error that says that the system has refused so many bytes."""
    return DeviceError(
        f"The system refused {size / 1e6:.0f} MB of memory for {purpose}. Allow this process more memory, or use a "
        "machine with more."
    )


def is_refusal(error: BaseException) -> bool:
    """Whether an error of Python, numpy, torch or the system says that memory was refused."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    told = isinstance(error, RuntimeError) and "t allocate memory" in str(error)  # torch has no type for it on a CPU
    return told or isinstance(error, MemoryError)


@contextmanager
def memory_errors(purpose: str) -> Iterator[None]:
    """Turn refused memory, of a device or the system, into DeviceError. purpose: what the memory was for."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"The device has too little memory {purpose}. Ask for fewer classes at a time, for a smaller batch, or for "
            "the CPU.",
            about=("classes", "batch", "device"),
        ) from error
    except (MemoryError, OSError, RuntimeError) as error:
        if not is_refusal(error):
            raise
        raise DeviceError(
            f"The system refused memory {purpose}. Allow this process more, ask for fewer classes at a time, or use a "
            "machine with more memory.",
            about="classes",
        ) from error


def as_refusal(error: Exception) -> DeviceError | None:
    """The error to raise where memory was refused to a library that has no such error; None for any other error.

    A library that is refused memory while it is loaded fails in some way of its own, and in others from then on. So
    with an address space that is used up, every error counts.
    """
    left = _address_space_left()
    loading = isinstance(error, ImportError) and any(sign in str(error) for sign in _LOADING_FAILED)
    if not (loading or is_refusal(error) or (left is not None and left < _NEARLY_NOTHING)):
        return None
    lines = [line for line in str(error).splitlines() if any(sign in line for sign in _LOADING_FAILED)]
    what = f" ({lines[0].strip()[:200]})" if lines else ""
    return DeviceError(f"Too little memory{what}. Allow this process more address space, or free some memory.")


def available_bytes(device: torch.device, limit: int | None = None) -> int:
    """Bytes that this process can still take on a GPU: free ones and those that torch keeps unused.

    limit: the most that this process may hold there; None for the whole device.
    """
    import torch

    held = torch.cuda.memory_allocated(device)
    available = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - held
    return available if limit is None else min(available, limit - held)


def _address_space_left() -> int | None:
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if most == resource.RLIM_INFINITY else max(most - _fields(STATUS).get("VmSize", 0), 0)


def _fields(path: Path) -> dict[str, int]:
    """Sizes in bytes by name, from a file of the kernel's that states them in kB; none where there is no such file."""
    try:
        rows = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if len(row) == 3 and row[2] == "kB"}


def _lifetime_peak() -> int:
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
