"""GPU kernels in Triton. Nothing here is imported before an operation runs on a GPU."""

from __future__ import annotations

import functools
import importlib.util
import re
import sys

from umlite.errors import DeviceError

OLDEST = (3, 7)
"""The oldest Triton that these kernels were compiled and interpreted with."""
_PACKAGES = ("triton", "triton-rocm", "triton-windows", "pytorch-triton-rocm", "pytorch-triton")


@functools.cache
def available() -> tuple[bool, str]:
    """Whether this Python has a Triton that will do, and which version, or why not. Imports nothing."""
    if importlib.util.find_spec("triton") is None:
        if sys.platform != "linux":
            return False, f"Triton has no build for {sys.platform}"
        return False, "Triton is not installed (it comes with torch's CUDA and ROCm builds)"
    from importlib.metadata import PackageNotFoundError, version

    for name in _PACKAGES:
        try:
            found = version(name)
        except PackageNotFoundError:
            continue
        if tuple(map(int, re.findall(r"\d+", found)[:2])) < OLDEST:
            return False, f"Triton {found} is older than {OLDEST[0]}.{OLDEST[1]}, the oldest that was tried"
        return True, f"Triton {found}"
    return True, "Triton of an unknown version"


def require() -> None:
    """Raise DeviceError, with the reason, where there is no Triton."""
    found, reason = available()
    if not found:
        raise DeviceError(
            f"The GPU operations need Triton, but {reason}. Use torch's CUDA build, or the CPU.", about="device"
        )
