"""How much memory there is, so that a scan too large fails with advice before it is computed."""

from __future__ import annotations

from pathlib import Path

import torch

from umlite.errors import DeviceError

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def check_memory(wanted: int, device: torch.device, purpose: str) -> None:
    """Raise DeviceError when `wanted` bytes are more than the device has free; pass where that is unknown."""
    free = free_bytes(device)
    if free is not None and wanted > free:
        raise DeviceError(
            f"{purpose} needs {wanted / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free. Ask for fewer classes at a time "
            "with --classes, or use a machine with more memory."
        )


def free_bytes(device: torch.device) -> int | None:
    """Bytes free on a CUDA device, or for this process on Linux (its control group's limit too); None elsewhere."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu" or not MEMINFO.is_file():
        return None
    lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines() if ":" in line)
    free = int(lines["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in lines else None
    try:
        limit, used = (int((CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no control group, or "max": no limit
        return free
    return limit - used if free is None else min(free, limit - used)
