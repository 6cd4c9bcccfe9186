"""How many threads this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from umlite.machine.forks import ONE_IS_LEFT, lost_threads

GROUPS = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


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
    limit = _group_limit()
    if limit is not None and limit < cores:
        return limit, "the control group's limit"
    return cores, "the cores of this process"


def _group_limit() -> int | None:
    """Whole cores of this process's control group, the least of it and those around it; None without a limit."""
    cores = min((quota for folder in _group_folders() if (quota := _quota(folder)) is not None), default=None)
    return None if cores is None else max(1, math.ceil(cores))


def _group_folders() -> Iterator[Path]:
    """Of the groups that this process is in, and of those around them, as far as they can be seen from here."""
    try:
        lines = GROUPS.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = MOUNT / "cpu" if controllers else MOUNT  # version 1 has a tree of its own for each controller
        place = PurePosixPath(name).relative_to("/")
        yield from (mount / part for part in (place, *place.parents))


def _quota(folder: Path) -> float | None:
    """Cores' worth of time that a group gets; None where it has no limit, or is not to be seen."""
    with suppress(OSError, ValueError):  # "max" is no number
        quota, period = map(int, (folder / "cpu.max").read_text().split())
        return quota / period
    with suppress(OSError, ValueError):  # version 1
        quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return quota / period if quota > 0 else None
    return None
