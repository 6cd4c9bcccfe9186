"""The control groups that this process is in, and those around them: where Linux limits processors and memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

GROUPS = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")
NO_LIMIT = 1 << 62
"""Version 1 states a number above this where there is no limit."""


def cores_limit() -> float | None:
    """Cores' worth of time that this process may use: the least of its groups' quotas; None without one."""
    return min((quota for folder in _folders("cpu") if (quota := _quota(folder)) is not None), default=None)


def memory_left() -> int | None:
    """Bytes that the tightest of the groups around this process still allows; None without a limit.

    Cached files count as used by a group, but go when memory is needed: what was not read lately counts as free.
    """
    return min((left for folder in _folders("memory") if (left := _left(folder)) is not None), default=None)


def _folders(controller: str) -> Iterator[Path]:
    """The folders of this process's groups and of their parents, as far as they can be seen from here."""
    try:
        lines = GROUPS.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = MOUNT / controller if controllers else MOUNT  # version 1 has a tree of its own for each controller
        place = PurePosixPath(name).relative_to("/")
        yield from (mount / part for part in (place, *place.parents))


def _quota(folder: Path) -> float | None:
    with suppress(OSError, ValueError):  # "max" is no number
        quota, period = map(int, (folder / "cpu.max").read_text().split())
        return quota / period
    with suppress(OSError, ValueError):  # version 1
        quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return quota / period if quota > 0 else None
    return None


def _left(folder: Path) -> int | None:
    for limit_file, used_file, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),  # version 1
    ):
        with suppress(OSError, ValueError):  # "max" is no number
            limit, used = (int((folder / name).read_text()) for name in (limit_file, used_file))
            return None if limit > NO_LIMIT else max(limit - used + _statistic(folder, cache), 0)
    return None


def _statistic(folder: Path, name: str) -> int:
    with suppress(OSError, ValueError):
        for line in (folder / "memory.stat").read_text().splitlines():
            if line.startswith(f"{name} "):
                return int(line.split()[1])
    return 0
