"""Which implementation of the operations a network is built on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from umlite.kernels.dynamic_heads import dynamic_heads, dynamic_heads_ref, dynamic_heads_torch
from umlite.kernels.norm_act import norm_act, norm_act_ref, norm_act_torch
from umlite.kernels.window_attention import window_attention, window_attention_ref, window_attention_torch


@dataclass(frozen=True)
class KernelSet:
    """The operations a network is built on; signatures as in their files."""

    window_attention: Callable[[Tensor, Tensor, Tensor, int, int, int], Tensor]
    dynamic_heads: Callable[[Tensor, Tensor], Tensor]
    norm_act: Callable[[Tensor, Tensor | None, Tensor | None, Tensor | None, float, float], Tensor]


REFERENCE = KernelSet(window_attention_ref, dynamic_heads_ref, norm_act_ref)
FAST = KernelSet(window_attention, dynamic_heads, norm_act)
TORCH = KernelSet(window_attention_torch, dynamic_heads_torch, norm_act_torch)
"""As FAST, but for GPUs, where it needs no kernels of ours and no Triton."""
