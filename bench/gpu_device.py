"""The GPU that a benchmark runs on: its name, what its maker says it can do, and its clock."""

from __future__ import annotations

import re
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch

from bench.roofline import GPU, GPUS

WARM_UPS = 3
FLUSHED_BYTES = 256 * 2**20
"""Written before each measured launch: more than any GPU's cache, so that operands come from memory."""

_NAMES = {
    "H100 SXM": r"H100 80GB HBM3",
    "H200 SXM": r"NVIDIA H200$",
    "A100 SXM 80 GB": r"A100-SXM4-80GB",
    "RTX 4090": r"RTX 4090(?! D| Laptop)",
    "MI300X": r"MI300X",
}


def peaks_of(name: str) -> GPU | None:
    """The data sheet of a GPU by the name its driver gives; None for one that is not in the table."""
    return next((gpu for gpu in GPUS if gpu.name in _NAMES and re.search(_NAMES[gpu.name], name)), None)


class Device(ABC):
    """Where things run, how long they take and how much memory they hold.

    Args:
        name: as its driver calls it.
        device: as torch calls it.
        target: as compilers call it, "sm_90" say.
    """

    def __init__(self, name: str, device: torch.device, target: str) -> None:
        self.name, self.device, self.target, self.peaks = name, device, target, peaks_of(name)

    @abstractmethod
    def seconds(self, launch: Callable[[], object], repeats: int) -> list[float]:
        """Seconds on the device for each of `repeats` calls, after some that are not counted."""

    @abstractmethod
    def peak_bytes(self, launch: Callable[[], object]) -> int:
        """Most bytes of the device's memory that are held at once while `launch` runs, its inputs and weights too."""

    def median_seconds(self, launch: Callable[[], object], repeats: int) -> float:
        return statistics.median(self.seconds(launch, repeats))


class CudaDevice(Device):
    """A CUDA or ROCm GPU, timed by its own events, with caches that hold nothing of use."""

    def __init__(self, device: torch.device) -> None:
        properties = torch.cuda.get_device_properties(device)
        target = getattr(properties, "gcnArchName", "").split(":")[0] if torch.version.hip else ""
        super().__init__(
            torch.cuda.get_device_name(device), device, target or f"sm_{properties.major}{properties.minor}"
        )
        self._flushed = torch.empty(FLUSHED_BYTES, dtype=torch.int8, device=device)

    def seconds(self, launch: Callable[[], object], repeats: int) -> list[float]:
        with torch.cuda.device(self.device):  # events belong to the current device
            for _ in range(WARM_UPS):
                launch()
            return [self._seconds(launch) for _ in range(repeats)]

    def peak_bytes(self, launch: Callable[[], object]) -> int:
        torch.cuda.reset_peak_memory_stats(self.device)
        launch()
        torch.cuda.synchronize(self.device)
        return torch.cuda.max_memory_reserved(self.device)

    def _seconds(self, launch: Callable[[], object]) -> float:
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        self._flushed.zero_()  # also keeps the device busy while the host queues what is measured
        begin.record()
        launch()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3


class RehearsalDevice(Device):
    """The CPU in the place of a GPU, to try the benchmark: its numbers mean nothing."""

    def __init__(self) -> None:
        super().__init__("a rehearsal on a CPU", torch.device("cpu"), "sm_90")

    def seconds(self, launch: Callable[[], object], repeats: int) -> list[float]:
        return [self._seconds(launch) for _ in range(repeats)]

    def peak_bytes(self, launch: Callable[[], object]) -> int:
        launch()
        return 0

    def _seconds(self, launch: Callable[[], object]) -> float:
        start = time.perf_counter()
        launch()
        return time.perf_counter() - start
