"""GPU kernels in Triton. Nothing here is imported before an operation runs on a GPU."""

from __future__ import annotations

import importlib.util
import sys

from umlite.errors import DeviceError


def available() -> tuple[bool, str]:
    """Whether this Python has Triton, and which version, or why not. Imports nothing."""
    if importlib.util.find_spec("triton") is None:
        if sys.platform != "linux":
            return False, f"Triton has no build for {sys.platform}"
        return False, "Triton is not installed (it comes with torch's CUDA and ROCm builds)"
    from importlib.metadata import PackageNotFoundError, version

    for name in ("triton", "pytorch-triton-rocm", "pytorch-triton"):
        try:
            return True, f"Triton {version(name)}"
        except PackageNotFoundError:
            continue
    return True, "Triton of an unknown version"


def require() -> None:
    """Raise DeviceError, with the reason, where there is no Triton."""
    found, reason = available()
    if not found:
        raise DeviceError(f"The GPU operations need Triton, but {reason}. Use --device cpu, or torch's CUDA build.")
