"""A Triton driver for GPUs that are not there: it knows what a target is and can launch nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),  # A100
    "sm_86": GPUTarget("cuda", 86, 32),  # RTX 3090, A40
    "sm_89": GPUTarget("cuda", 89, 32),  # RTX 4090, L40
    "sm_90": GPUTarget("cuda", 90, 32),  # H100
    "sm_100": GPUTarget("cuda", 100, 32),  # B200
    "sm_120": GPUTarget("cuda", 120, 32),  # RTX 5090
    "gfx942": GPUTarget("hip", "gfx942", 64),  # MI300
}
SHARED_BYTES = {  # the most shared memory that one block may have
    "sm_80": 166912,
    "sm_86": 101376,
    "sm_89": 101376,
    "sm_90": 232448,
    "sm_100": 232448,
    "sm_120": 101376,
    "gfx942": 65536,
}


class StubDriver:
    """As much of a driver as Triton asks for when it binds arguments, specialises and compiles."""

    def __init__(self, target: GPUTarget) -> None:
        self.target = target

    def get_current_device(self) -> GPUTarget:
        return self.target  # Triton keeps compiled kernels by device: one set a target

    def get_current_stream(self, device: object) -> int:  # noqa: ARG002
        return 0

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_active_torch_device(self) -> str:
        return "cpu"


@contextmanager
def pretend(target: str) -> Iterator[None]:
    """Within: Triton and launch code see `target` (a key of TARGETS) as the GPU."""
    saved = dict(vars(driver))
    driver.set_active(StubDriver(TARGETS[target]))
    try:
        yield
    finally:
        vars(driver).update(saved)
