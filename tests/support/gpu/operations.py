"""The operations' GPU implementations as functions of any tensors.

Inside `interpreted()` they run on CPU tensors: the code between operation and launch is part of what is tested.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from umlite.kernels.dynamic_heads import dynamic_heads
from umlite.kernels.implementations import KernelSet
from umlite.kernels.norm_act import norm_act
from umlite.kernels.window_attention import window_attention


def on_gpu(operation: Any) -> Callable[..., Any]:
    """What a `torch.library` operation does with CUDA tensors."""
    return operation._backend_fns["cuda"]


TRITON = KernelSet(on_gpu(window_attention), dynamic_heads, on_gpu(norm_act))
