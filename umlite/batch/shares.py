"""What each process of a batch gets of this machine."""

from __future__ import annotations

from dataclasses import replace

from umlite.engines.options import EngineOptions
from umlite.machine.gpus import may_have_gpu
from umlite.machine.threads import available_threads


def shares(options: EngineOptions, workers: int) -> list[EngineOptions]:
    """The options of each process: its part of threads and memory, and one of several GPUs."""
    threads = max(1, (options.threads or available_threads()[0]) // workers)
    ram = None if options.max_ram is None else options.max_ram // workers
    devices = _gpus(options.device)
    return [
        replace(options, threads=threads, max_ram=ram, device=devices[n % len(devices)] if devices else options.device)
        for n in range(workers)
    ]


def _gpus(device: str) -> list[str]:
    if device not in ("auto", "cuda") or not may_have_gpu():
        return []
    import torch

    return [f"cuda:{n}" for n in range(torch.cuda.device_count())]
