"""What the network computes of windows before any class is asked for, as a GPU does it best."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from umlite.gpu.memory import activation_bytes
from umlite.gpu.precision import exact_float32
from umlite.kernels.channel_scale_shift import channel_scale_shift
from umlite.kernels.implementations import FAST
from umlite.models.config import NetworkConfig
from umlite.models.universal import UniversalModel
from umlite.windows import Size


class WindowFeatures(nn.Module):
    """Windows [N, 1, D, H, W] in `dtype` -> (feature, scale, shift, image), the same for all classes.

    feature: [N, F, D, H, W] in `dtype`, of the backbone, before the head input's norm. scale, shift: float32 [N, F],
    that norm (`channel_scale_shift`). image: float32 [N, gap_width], for the parameter generator.
    The backbone's weights are in `dtype` and a memory format, which its convolutions hand on; torch and the kernels
    take statistics and, under `wide_sums`, products in float32. What comes after has float32 weights.
    model: its backbone is changed and used, not copied.
    """

    def __init__(self, model: UniversalModel, dtype: torch.dtype, *, channels_last: bool = False) -> None:
        super().__init__()
        layout = torch.channels_last_3d if channels_last else torch.contiguous_format
        self.backbone = model.backbone.to(dtype=dtype, memory_format=layout)  # type: ignore[call-overload]
        self.generator = model.generator
        norm, _, convolution = model.head_input
        assert isinstance(norm, nn.GroupNorm)
        assert isinstance(convolution, nn.Conv3d)
        self.norm, self.convolution = norm, convolution

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        bottleneck, feature = self.backbone(windows)
        norm = self.norm
        scale, shift = channel_scale_shift(feature, norm.weight, norm.bias, norm.num_groups, norm.eps)
        return feature, scale, shift, self.generator.image_vector(bottleneck.to(torch.float32))

    @property
    def head_layer(self) -> tuple[Tensor, Tensor]:
        """Weight [K, F] and bias [K], float32, from the normalised feature to the heads' input."""
        bias = self.convolution.bias
        assert bias is not None
        return self.convolution.weight.flatten(1), bias


@contextmanager
def wide_sums() -> Iterator[None]:
    """Within: products are summed in float32 whatever the caller's settings. No TF32, no sums in half precision."""
    products = torch.backends.cuda.matmul
    half, brain = products.allow_fp16_reduced_precision_reduction, products.allow_bf16_reduced_precision_reduction
    products.allow_fp16_reduced_precision_reduction = products.allow_bf16_reduced_precision_reduction = False
    try:
        with exact_float32():
            yield
    finally:
        products.allow_fp16_reduced_precision_reduction = half
        products.allow_bf16_reduced_precision_reduction = brain


def bytes_of_one_window(config: NetworkConfig, window: Size, dtype: torch.dtype) -> int:
    """Most bytes that a window takes beside weights and sums: activations, and all logits on their way to the host."""
    with torch.device("meta"):
        features = WindowFeatures(UniversalModel(config, FAST), dtype)
    depth, rows, columns = window
    logits = 4 * config.head.classes * depth * rows * columns
    return activation_bytes(features, (1, 1, *window), dtype) + logits
