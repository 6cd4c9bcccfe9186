"""From the backbone's feature to the classes in one pass: normalise, ReLU, 1x1x1 convolution, class-specific heads.

The group norm's statistics come as a scale and shift for each window and channel (`channel_scale_shift`), so the
feature is read once more and nothing but the answer is written.
"""

from __future__ import annotations

import torch
from torch import Tensor

from umlite.kernels.blend import blend_ref
from umlite.kernels.dynamic_heads import dynamic_heads, dynamic_heads_ref
from umlite.kernels.triton import require


def fused_heads_ref(
    feature: Tensor, scale: Tensor, shift: Tensor, weight: Tensor, bias: Tensor, params: Tensor
) -> Tensor:
    """Plain torch, step by step.

    feature: [N, F, D, H, W]. scale, shift: float32 [N, F]. weight: [K, F]. bias: [K]. params: [N, classes, P].
    Returns logits [N, classes, D, H, W] in the feature's dtype.
    """
    return dynamic_heads_ref(_head_input(feature, scale, shift, weight, bias), params.to(feature.dtype))


@torch.library.custom_op("umlite::fused_heads", mutates_args=())
def fused_heads(feature: Tensor, scale: Tensor, shift: Tensor, weight: Tensor, bias: Tensor, params: Tensor) -> Tensor:
    """The same in one launch on a GPU. One node for torch.compile."""
    return dynamic_heads(_head_input(feature, scale, shift, weight, bias), params.to(feature.dtype))


@fused_heads.register_kernel("cuda")
def _(feature: Tensor, scale: Tensor, shift: Tensor, weight: Tensor, bias: Tensor, params: Tensor) -> Tensor:
    require()
    from umlite.kernels.triton.dynamic_heads import Stem, launch_heads

    logits = _empty_logits(feature, params)
    launch_heads(feature, Stem(scale, shift, weight, bias), params, logits)
    return logits


@fused_heads.register_fake
def _(feature: Tensor, *stem_and_params: Tensor) -> Tensor:
    return _empty_logits(feature, stem_and_params[-1])


def fused_heads_accumulate_ref(
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
    """`fused_heads_ref`, its logits times importance added to a scan's sums as `dynamic_heads_accumulate_ref` does."""
    blend_ref(fused_heads_ref(feature, scale, shift, weight, bias, params), importance, sums, starts)


@torch.library.custom_op("umlite::fused_heads_accumulate", mutates_args=("sums",))
def fused_heads_accumulate(
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
    """The same in one launch a window on a GPU; logits never reach memory. One node for torch.compile."""
    blend_ref(fused_heads(feature, scale, shift, weight, bias, params), importance, sums, starts)


@fused_heads_accumulate.register_kernel("cuda")
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
    from umlite.kernels.triton.dynamic_heads import Stem, accumulate_heads

    accumulate_heads(feature, Stem(scale, shift, weight, bias), params, importance, sums, starts)


@fused_heads_accumulate.register_fake
def _(*_: object) -> None:
    return None


def _head_input(feature: Tensor, scale: Tensor, shift: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """[N, F, D, H, W] -> [N, K, D, H, W] in the feature's dtype."""
    y = feature * scale[..., None, None, None] + shift[..., None, None, None]
    y = torch.relu(y.to(feature.dtype)).flatten(2)
    h = weight.to(y.dtype) @ y + bias.to(y.dtype)[:, None]
    return h.unflatten(2, feature.shape[2:])


def _empty_logits(feature: Tensor, params: Tensor) -> Tensor:
    return feature.new_empty(feature.shape[0], params.shape[1], *feature.shape[2:])
