"""What the makers say of the GPUs that the roofline is computed for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GPU:
    """Dense peaks from the makers' data sheets.

    target: as compilers and the budget table name it. lanes: how many lanes the whole chip issues an instruction for in
    a clock: four warps of 32 a multiprocessor on NVIDIA; on AMD four quarters of a wave of 64 a compute unit.
    clock_ghz: at which the peaks are reached.
    """

    name: str
    half_tflops: float
    tf32_tflops: float
    float_tflops: float
    memory_gb_s: float
    target: str
    lanes: int
    clock_ghz: float

    @property
    def instructions_per_s(self) -> float:
        """Instructions times lanes."""
        return self.lanes * self.clock_ghz * 1e9


GPUS = (
    GPU("H100 SXM", 989, 494, 67, 3350, "sm_90", 132 * 4 * 32, 1.98),
    GPU("H200 SXM", 989, 494, 67, 4800, "sm_90", 132 * 4 * 32, 1.98),
    GPU("A100 SXM 80 GB", 312, 156, 19.5, 2039, "sm_80", 108 * 4 * 32, 1.41),
    GPU("RTX 4090", 165, 82.6, 82.6, 1008, "sm_89", 128 * 4 * 32, 2.52),
    GPU("MI300X", 1307, 654, 163, 5300, "gfx942", 304 * 4 * 16, 2.1),
)
