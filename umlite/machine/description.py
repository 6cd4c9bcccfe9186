"""The machine that a measurement belongs to."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from typing import Any

from umlite.machine.processor import processor_name
from umlite.machine.threads import available_threads


def describe_machine() -> dict[str, Any]:
    """What every benchmark's report says about where and when it ran, ready for JSON."""
    import numpy
    import torch

    import umlite

    facts: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": processor_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": available_threads()[0],
        "threads": torch.get_num_threads(),
        "memory_gb": round(memory_bytes() / 1e9, 1),
        "system": platform.platform(),
        "umlite": umlite.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
        facts["gpu_memory_gb"] = round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1)
    return facts


def memory_bytes() -> int:
    """The machine's memory, or 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
