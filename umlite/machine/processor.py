"""The processor: its name and its caches."""

from __future__ import annotations

import platform
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """threads: of every layer; l2_bytes: of one core; l3_bytes: shared by all."""

    threads: int
    l2_bytes: int = 512 << 10
    l3_bytes: int = 16 << 20

    @classmethod
    def here(cls, threads: int) -> Machine:
        """Cache sizes as the system states them; the defaults where it does not."""
        sizes: dict[str, int] = {}
        for folder in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
            with suppress(OSError, ValueError, KeyError):
                level, size = (folder / "level").read_text().strip(), (folder / "size").read_text().strip()
                sizes[level] = int(size[:-1]) * {"K": 1 << 10, "M": 1 << 20}[size[-1]]
        return cls(threads, sizes.get("2", cls.l2_bytes), sizes.get("3", cls.l3_bytes))


def processor_name() -> str:
    """The processor's model, or its architecture where the system does not tell."""
    if CPU_INFO.is_file():
        for line in CPU_INFO.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
