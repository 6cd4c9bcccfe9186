"""How many threads this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def available_threads() -> tuple[int, str]:
    """The number of threads to use, and why: OMP_NUM_THREADS, or the cores that the process and its group may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if asked.isdigit() and int(asked) > 0:
        return int(asked), "OMP_NUM_THREADS"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = _group_limit()
    if limit is not None and limit < cores:
        return limit, "the control group's limit"
    return cores, "the cores of this process"


def _group_limit() -> int | None:
    """Whole cores of this process's control group (Linux, version 2); None without a limit."""
    try:
        quota, period = CPU_LIMIT.read_text().split()
        return max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no control group, or "max"
        return None
