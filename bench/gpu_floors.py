"""The least time that this very GPU could take: measured ceilings in the place of its maker's data sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bench import roofline
from bench.gpu_cases import Case
from bench.gpu_device import Device
from bench.ledger import LIMITS
from bench.paper_gpus import GPU
from umlite.weights.model_card import ModelCard


@dataclass(frozen=True)
class Ceilings:
    """What the device reached: a copy (bytes read and written), and matrix products."""

    copy_gb_s: float
    half_tflops: float
    tf32_tflops: float
    float_tflops: float

    @classmethod
    def of(cls, earlier: Mapping[str, Sequence[Mapping[str, Any]]]) -> Ceilings | None:
        """As an earlier part measured them; None where it did not."""
        for row in earlier.get("kernel_times", ()):
            if row["kernel"] == "ceilings":
                return cls(**{name: row[name] for name in cls.__dataclass_fields__})
        return None


def measure_ceilings(gpu: Device, *, rehearse: bool = False, repeats: int = 20) -> Ceilings:
    """Of random numbers: zeros can run faster than data."""
    side, elements = (64, 1 << 12) if rehearse else (8192, 1 << 29)
    copy = _copy_bytes_s(gpu, elements, repeats)
    rates = []
    for dtype, precision in ((torch.float16, "highest"), (torch.float32, "high"), (torch.float32, "highest")):
        a, b = (torch.randn(side, side, device=gpu.device).to(dtype) for _ in range(2))
        torch.set_float32_matmul_precision(precision)  # "high" is TF32
        rates.append(2 * side**3 / gpu.median_seconds(lambda a=a, b=b: a @ b, repeats) / 1e12)
    return Ceilings(copy / 1e9, *rates)


def _copy_bytes_s(gpu: Device, elements: int, repeats: int) -> float:
    source = torch.rand(elements, device=gpu.device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / gpu.median_seconds(lambda: target.copy_(source), repeats)


def kernel_floor(case: Case, ceilings: Ceilings, gpu: Device) -> tuple[float, str]:
    """Seconds, and which of LIMITS sets them; instructions only of GPUs whose data sheet is known."""
    rate = ceilings.half_tflops if case.unit == "half" else ceilings.float_tflops
    seconds = {"memory": case.bytes / (ceilings.copy_gb_s * 1e9), "products": case.flop / (rate * 1e12)}
    seconds["instructions"] = case.issued(gpu.target) / gpu.peaks.instructions_per_s if gpu.peaks else 0.0
    limit = max(LIMITS, key=lambda name: seconds[name])
    return seconds[limit], limit


def window_floor(card: ModelCard, ceilings: Ceilings | None, gpu: Device) -> dict[str, Any]:
    """`roofline.py`'s floor of a window of 96^3 and 32 classes in float16, on these ceilings."""
    if ceilings is None:
        return {}
    here = GPU(
        gpu.name,
        *(ceilings.half_tflops, ceilings.tf32_tflops, ceilings.float_tflops, ceilings.copy_gb_s),
        gpu.target,
        *((gpu.peaks.lanes, gpu.peaks.clock_ghz) if gpu.peaks else (1 << 20, 1e3)),  # no limit where unknown
    )
    stages = roofline.count(card.network.backbone, True, card.network.head).seconds(here, half=True)
    return {"floor": sum(sum(limits.values()) for limits in stages.values())}
