"""Group norm's statistics as a scale and shift for each window and channel: `scale * x + shift` is the group norm."""

from __future__ import annotations

import torch
from torch import Tensor

from umlite.kernels.triton import require


def channel_scale_shift_ref(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, groups: int, eps: float
) -> tuple[Tensor, Tensor]:
    """Plain torch, two passes in float32.

    x: [N, C, D, H, W] float32, float16 or bfloat16. weight, bias: [C] or None for 1 and 0. groups: of channels that
    share statistics; C of them is instance norm. Returns scale and shift, float32 [N, C].
    """
    n, channels = x.shape[:2]
    grouped = x.to(torch.float32).reshape(n, groups, -1)
    mean = grouped.mean(dim=2)
    variance = (grouped - mean[..., None]).square().mean(dim=2)
    size = channels // groups
    scale = (variance + eps).rsqrt().repeat_interleave(size, dim=1)
    if weight is not None:
        scale = scale * weight
    shift = -mean.repeat_interleave(size, dim=1) * scale
    return scale, shift if bias is None else shift + bias


@torch.library.custom_op("umlite::channel_scale_shift", mutates_args=())
def channel_scale_shift(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, groups: int, eps: float
) -> tuple[Tensor, Tensor]:
    """The same; on a GPU one pass by Welford's recurrence. One node for torch.compile."""
    return channel_scale_shift_ref(x, weight, bias, groups, eps)


@channel_scale_shift.register_kernel("cuda")
def _(x: Tensor, weight: Tensor | None, bias: Tensor | None, groups: int, eps: float) -> tuple[Tensor, Tensor]:
    require()
    from umlite.kernels.triton.channel_scale_shift import launch_scale_shift

    scale, shift = _empty(x), _empty(x)
    launch_scale_shift(x, weight, bias, groups, eps, scale, shift)
    return scale, shift


@channel_scale_shift.register_fake
def _(x: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    return _empty(x), _empty(x)


def _empty(x: Tensor) -> Tensor:
    return x.new_empty(x.shape[:2], dtype=torch.float32)
