"""How many threads this process may use."""

from __future__ import annotations

import math
import os

from umlite.machine.control_groups import cores_limit
from umlite.machine.forks import ONE_IS_LEFT, lost_threads


def available_threads() -> tuple[int, str]:
    """The number of threads to use, and why: OMP_NUM_THREADS, or the cores that the process and its group may use.

    One where a fork has left no others.
    """
    if lost_threads():
        return 1, ONE_IS_LEFT
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if asked.isdigit() and int(asked) > 0:
        return int(asked), "OMP_NUM_THREADS"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = cores_limit()
    if limit is not None and math.ceil(limit) < cores:
        return max(1, math.ceil(limit)), "the control group's limit"
    return cores, "the cores of this process"
