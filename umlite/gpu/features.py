"""The part of the network that does not depend on the requested classes, arranged for a GPU."""

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

    `feature` [N, F, D, H, W] in `dtype` is the backbone's output, before the norm of the heads' input. `scale` and
    `shift`, float32 [N, F], are that norm (`channel_scale_shift`). `image`, float32 [N, gap_width], is the parameter
    generator's input.

    The backbone's weights are in `dtype` and a memory format, which its convolutions pass on. Torch and the kernels
    compute statistics and, within `wide_sums`, products in float32. Everything after the backbone has float32 weights.

    Args:
        model: its backbone is changed and used, not copied.
        dtype: of the backbone.
        channels_last: memory format of the backbone.
    """

    def __init__(self, model: UniversalModel, dtype: torch.dtype, *, channels_last: bool = False) -> None:
        super().__init__()
        layout = torch.channels_last_3d if channels_last else torch.contiguous_format
        self.backbone = model.backbone.to(dtype=dtype, memory_format=layout)  # type: ignore[call-overload]
        self.generator = model.generator
        norm = model.head_input[0]
        assert isinstance(norm, nn.GroupNorm)
        self.norm = norm
        weight, bias = model.head_layer()
        self.register_buffer("mix", weight)
        self.register_buffer("mix_bias", bias)
        self.mix: Tensor
        self.mix_bias: Tensor

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        bottleneck, feature = self.backbone(windows)
        norm = self.norm
        scale, shift = channel_scale_shift(feature, norm.weight, norm.bias, norm.num_groups, norm.eps)
        return feature, scale, shift, self.generator.image_vector(bottleneck.to(torch.float32))

    @property
    def head_layer(self) -> tuple[Tensor, Tensor]:
        """Weight [K, F] and bias [K], float32, of the layer from the normalised feature to the heads' input."""
        return self.mix, self.mix_bias


@contextmanager
def wide_sums() -> Iterator[None]:
    """Within this context, products are summed in float32: no TF32, no half-precision sums."""
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
    """Most GPU memory that a window takes beside weights and sums: activations, and logits on their way to the host."""
    with torch.device("meta"):
        features = WindowFeatures(UniversalModel(config, FAST), dtype)
    depth, rows, columns = window
    logits = 4 * config.head.heads * depth * rows * columns
    return activation_bytes(features, (1, 1, *window), dtype) + logits
