"""The GPU that a benchmark runs on: its name, what its maker says it can do, and its clock."""

from __future__ import annotations

import re
import statistics
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch

from bench.roofline import GPU, GPUS

WARM_UPS = 3
FLUSHED_BYTES = 256 * 2**20
"""Written before each measured launch: more than any GPU's cache, so that operands come from memory."""

_NAMES = {
    "H100 SXM": r"H100 80GB HBM3",
    "A100 SXM 80 GB": r"A100-SXM4-80GB",
    "RTX 4090": r"RTX 4090(?! D| Laptop)",
    "MI300X": r"MI300X",
}


def peaks_of(name: str) -> GPU | None:
    """The data sheet of a GPU by the name its driver gives; None for one that is not in the table."""
    return next((gpu for gpu in GPUS if gpu.name in _NAMES and re.search(_NAMES[gpu.name], name)), None)


class Device(ABC):
    """Where things run and how long they take."""

    def __init__(self, name: str, device: torch.device) -> None:
        self.name, self.device, self.peaks = name, device, peaks_of(name)

    @abstractmethod
    def seconds(self, launch: Callable[[], object], repeats: int) -> list[float]:
        """What the device takes for each of `repeats` calls, after some that are not counted."""

    def median_seconds(self, launch: Callable[[], object], repeats: int) -> float:
        return statistics.median(self.seconds(launch, repeats))


class CudaDevice(Device):
    """A CUDA or ROCm GPU, timed by its own events, with caches that hold nothing of use."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(torch.cuda.get_device_name(device), device)
        self._flushed = torch.empty(FLUSHED_BYTES, dtype=torch.int8, device=device)

    def seconds(self, launch: Callable[[], object], repeats: int) -> list[float]:
        with torch.cuda.device(self.device):  # events belong to the current device
            for _ in range(WARM_UPS):
                launch()
            return [self._seconds(launch) for _ in range(repeats)]

    def _seconds(self, launch: Callable[[], object]) -> float:
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        self._flushed.zero_()  # also keeps the device busy while the host queues what is measured
        begin.record()
        launch()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3


def find_gpu(asked: str) -> CudaDevice | None:
    """The GPU asked for; None where this torch sees none."""
    return CudaDevice(torch.device(asked)) if torch.cuda.is_available() else None
