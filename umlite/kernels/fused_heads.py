"""From the backbone's feature into a scan's sums in one pass.

Normalise, ReLU, 1x1x1 convolution, class-specific heads, blending: the group norm's statistics come as a scale and
shift for each window and channel (`channel_scale_shift`), so the feature is read once more and only sums are written.
"""

from __future__ import annotations

import torch
from torch import Tensor

from umlite.kernels.blend import blend_ref
from umlite.kernels.dynamic_heads import dynamic_heads_ref, dynamic_heads_torch
from umlite.kernels.triton import require


def fused_heads_ref(
    feature: Tensor,
    scale: Tensor,
    shift: Tensor,
    weight: Tensor,
    bias: Tensor,
    params: Tensor,
    importance: Tensor,
    sums: Tensor,
    starts: Tensor,
) -> None:
    """Plain torch, step by step.

    feature: [N, F, D, H, W]. scale, shift: float32 [N, F]. weight: [K, F]. bias: [K]. params: [N, classes, P], as in
    `dynamic_heads_ref`. importance, sums, starts: as in `blend_ref`; logits are rounded to the feature's dtype.
    """
    logits = dynamic_heads_ref(head_input(feature, scale, shift, weight, bias), params.to(feature.dtype))
    blend_ref(logits, importance, sums, starts)


@torch.library.custom_op("umlite::fused_heads", mutates_args=("sums",))
def fused_heads(
    feature: Tensor,
    scale: Tensor,
    shift: Tensor,
    weight: Tensor,
    bias: Tensor,
    params: Tensor,
    importance: Tensor,
    sums: Tensor,
    starts: Tensor,
) -> None:
    """The same; on a GPU one launch a window, whose logits stay in registers. One node for torch.compile.

    Heads of one layer need a head input that is not negative: with the identity as `weight` and no bias it is.

    Raises DeviceError on a GPU without Triton.
    """
    logits = dynamic_heads_torch(head_input(feature, scale, shift, weight, bias), params.to(feature.dtype))
    blend_ref(logits, importance, sums, starts)


@fused_heads.register_kernel("cuda")
def _(
    feature: Tensor,
    scale: Tensor,
    shift: Tensor,
    weight: Tensor,
    bias: Tensor,
    params: Tensor,
    importance: Tensor,
    sums: Tensor,
    starts: Tensor,
) -> None:
    require()
    from umlite.kernels.triton.fused_heads import Stem, launch_fused_heads

    launch_fused_heads(feature, Stem(scale, shift, weight, bias), params, importance, sums, starts)


@fused_heads.register_fake
def _(*_: object) -> None:
    return None


def head_input(feature: Tensor, scale: Tensor, shift: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """[N, F, D, H, W] -> [N, K, D, H, W] in the feature's dtype, by plain torch."""
    y = feature * scale[..., None, None, None] + shift[..., None, None, None]
    y = torch.relu(y.to(feature.dtype)).flatten(2)
    h = weight.to(y.dtype) @ y + bias.to(y.dtype)[:, None]
    return h.unflatten(2, feature.shape[2:])
