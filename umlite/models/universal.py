"""The Universal Model: backbone, parameter generator and class-specific heads (arXiv 2301.00785, 2405.18356).

A SegResNet takes the same place: its heads are of one layer, with weights that nothing generates.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from umlite.kernels.implementations import REFERENCE, KernelSet
from umlite.models.config import BackboneConfig, HeadConfig, NetworkConfig, SwinUNETRConfig, UNetConfig
from umlite.models.linear_heads import LinearHeads
from umlite.models.parameter_generator import ParameterGenerator, build_generator
from umlite.models.segresnet import SegResNet
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
        self.backbone = build_backbone(config.backbone, kernels)
        self.generator = build_heads(config.head, config.backbone.bottleneck_channels)
        features = config.backbone.feature_channels
        layers = [nn.GroupNorm(config.head.groups, features), nn.ReLU()]
        if config.head.generator != "linear":
            layers.append(nn.Conv3d(features, config.head.channels, 1))
        self.head_input = nn.Sequential(*layers)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The part that does not depend on classes: head input [N, K, D, H, W] and image vector [N, gap_width]."""
        bottleneck, feature = self.backbone(x)
        return self.head_input(feature), self.generator.image_vector(bottleneck)

    def forward(self, x: Tensor, classes: Sequence[int] | None = None) -> Tensor:
        """Logits of the heads at these positions, or of all heads."""
        head_input, image = self.features(x)
        params = self.generator(image, range(self.config.head.heads) if classes is None else classes)
        return self.kernels.dynamic_heads(head_input, params)

    def head_layer(self) -> tuple[Tensor, Tensor]:
        """Weight [K, F] and bias [K] of the layer between the normalised feature and the heads' input.

        Heads of one layer read the feature itself: there it is the identity.
        """
        if self.config.head.generator == "linear":
            channels = self.config.head.channels
            return torch.eye(channels), torch.zeros(channels)
        convolution = self.head_input[2]
        assert isinstance(convolution, nn.Conv3d)
        assert convolution.bias is not None
        return convolution.weight.detach().flatten(1), convolution.bias.detach()


def build_backbone(config: BackboneConfig, kernels: KernelSet) -> nn.Module:
    """The backbone of a configuration, with parameters still to be loaded."""
    if isinstance(config, UNetConfig):
        return UNet(config, kernels)
    if isinstance(config, SwinUNETRConfig):
        return SwinUNETR(config, kernels)
    return SegResNet(config)


def build_heads(config: HeadConfig, bottleneck_channels: int) -> ParameterGenerator | LinearHeads:
    """What gives the heads their parameters, with parameters of its own still to be loaded."""
    return LinearHeads(config) if config.generator == "linear" else build_generator(config, bottleneck_channels)
