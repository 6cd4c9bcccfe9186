"""What launch code needs to know of the GPU that it launches on."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
import triton
from torch import Tensor


def architecture(x: Tensor) -> str:
    """The GPU that holds `x` as compilers name it: "sm_90" (H100), "gfx942" (MI300)."""
    with on_device_of(x):
        target = triton.runtime.driver.active.get_current_target()
    return f"sm_{target.arch}" if target.backend == "cuda" else str(target.arch)


def on_device_of(x: Tensor) -> AbstractContextManager[object]:
    """Within: the current GPU, where Triton launches, is the one that holds `x`."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()
