"""The Universal Model: backbone, parameter generator and class-specific heads (arXiv 2301.00785, 2405.18356)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from umlite.kernels.implementations import REFERENCE, KernelSet
from umlite.models.config import NetworkConfig, UNetConfig
from umlite.models.parameter_generator import build_generator
from umlite.models.swin_unetr import SwinUNETR
from umlite.models.unet import UNet


class UniversalModel(nn.Module):
    """Windows [N, 1, D, H, W] float32 in [0, 1] -> logits [N, classes, D, H, W], each window computed on its own.

    Args:
        config: backbone and head.
        kernels: implementations of the operations; results are the same up to rounding.
    """

    def __init__(self, config: NetworkConfig, kernels: KernelSet = REFERENCE) -> None:
        super().__init__()
        self.config = config
        self.kernels = kernels
        backbone = config.backbone
        build = UNet if isinstance(backbone, UNetConfig) else SwinUNETR
        self.backbone: nn.Module = build(backbone, kernels)  # type: ignore[arg-type]
        self.generator = build_generator(config.head, backbone.bottleneck_channels)
        self.head_input = nn.Sequential(
            nn.GroupNorm(config.head.groups, backbone.feature_channels),
            nn.ReLU(),
            nn.Conv3d(backbone.feature_channels, config.head.channels, 1),
        )

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The part that does not depend on classes: head input [N, K, D, H, W] and image vector [N, gap_width]."""
        bottleneck, feature = self.backbone(x)
        return self.head_input(feature), self.generator.image_vector(bottleneck)

    def forward(self, x: Tensor, classes: Sequence[int] | None = None) -> Tensor:
        """Logits of the heads at these positions, or of all heads."""
        head_input, image = self.features(x)
        params = self.generator(image, range(self.config.head.heads) if classes is None else classes)
        return self.kernels.dynamic_heads(head_input, params)
