"""Whether a GPU may be here, told without torch."""

from __future__ import annotations

import sys
from pathlib import Path

_DRIVERS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd", "/proc/driver/nvidia")
"""Where drivers of NVIDIA's and AMD's GPUs show themselves on Linux; the third is Windows' under WSL."""


def may_have_gpu() -> bool:
    """False only where torch would find no GPU either."""
    return not sys.platform.startswith("linux") or any(Path(driver).exists() for driver in _DRIVERS)
