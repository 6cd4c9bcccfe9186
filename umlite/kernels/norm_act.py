"""Instance norm, an optional residual and (leaky) ReLU in one operation, in either memory format."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from umlite.kernels.triton import require


def norm_act_ref(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None, slope: float, eps: float
) -> Tensor:
    """Plain torch, layer after layer.

    x: [N, C, D, H, W]. weight, bias: [C] or None for 1 and 0. residual: as x, added before the activation. slope: of
    negative values; 0 is ReLU, 1 none. Returns [N, C, D, H, W] in x's dtype. Source: instance norm, arXiv 1607.08022.
    """
    y = F.instance_norm(x, weight=weight, bias=bias, eps=eps)
    if residual is not None:
        y = y + residual
    if slope == 1:
        return y
    return F.leaky_relu(y, slope) if slope else F.relu(y)


def norm_act_torch(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None, slope: float, eps: float
) -> Tensor:
    """The same in one tensor, on any device; the answer has x's memory format."""
    y = F.instance_norm(x, weight=weight, bias=bias, eps=eps)
    if residual is not None:
        y += residual
    if slope != 1:
        y = F.leaky_relu_(y, slope) if slope else F.relu_(y)
    return y.contiguous(memory_format=memory_format(x))


norm_act = torch.library.custom_op("umlite::norm_act", norm_act_torch, mutates_args=())
"""The same; on a GPU two passes over x, with Triton. One node for torch.compile.

On a GPU weight and bias may be of another dtype than x. Raises DeviceError on a GPU without Triton.
"""


@norm_act.register_kernel("cuda")
def _(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None, slope: float, eps: float
) -> Tensor:
    require()
    from umlite.kernels.triton.channel_scale_shift import launch_scale_shift
    from umlite.kernels.triton.norm_act import launch_norm_act

    out = _empty(x)
    layout = memory_format(x)
    x = x.contiguous(memory_format=layout)
    if residual is not None:
        residual = residual.contiguous(memory_format=layout)
    scale, shift = (x.new_empty(x.shape[:2], dtype=torch.float32) for _ in range(2))
    launch_scale_shift(x, weight, bias, x.shape[1], eps, scale, shift)
    launch_norm_act(x, scale, shift, residual, slope, out)
    return out


@norm_act.register_fake
def _(x: Tensor, *_: object) -> Tensor:
    return _empty(x)


def memory_format(x: Tensor) -> torch.memory_format:
    """Channels last where x is laid out so, and not also contiguous; else contiguous."""
    last = x.is_contiguous(memory_format=torch.channels_last_3d) and not x.is_contiguous()
    return torch.channels_last_3d if last else torch.contiguous_format


def _empty(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=memory_format(x))
