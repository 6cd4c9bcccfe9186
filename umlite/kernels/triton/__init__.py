"""GPU kernels in Triton. Nothing here is imported before an operation runs on a GPU."""

from __future__ import annotations

import functools
import importlib.util
import sys

from umlite.errors import DeviceError


@functools.cache
def available() -> tuple[bool, str]:
    """Whether this Python has a Triton that will do, and which version, or why not. Imports Triton where it is there.

    Whether it will do is told by what it can do, whatever its version.
    """
    if importlib.util.find_spec("triton") is None:
        if sys.platform != "linux":
            return False, f"Triton has no build for {sys.platform}"
        return False, "Triton is not installed (it comes with torch's CUDA and ROCm builds)"
    try:
        import triton
        import triton.language as tl
    except Exception as error:  # a build for another system fails in many ways
        said = " ".join(str(error).split())[:200]
        return False, f"Triton cannot be imported ({type(error).__name__}: {said})"
    if not hasattr(tl, "tuple"):
        return False, f"Triton {triton.__version__} is too old: it knows no tuples in kernels, as 3.3 and newer do"
    return True, f"Triton {triton.__version__}"


def require() -> None:
    """Raise DeviceError, with the reason, where there is no Triton."""
    found, reason = available()
    if not found:
        raise DeviceError(
            f"The GPU operations need Triton, but {reason}. Use torch's CUDA build, or the CPU.", about="device"
        )
