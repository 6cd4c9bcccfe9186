"""The network as the published pipeline runs it, written plainly: the slow side of a speed comparison.

Swin UNETR is MONAI's own (Apache-2.0), with the corners that the published patch merging gathers, and so is SegResNet;
the U-Net is eager torch. The heads are three grouped convolutions over the head input repeated once per class
(arXiv 2301.00785), or SegResNet's one. MONAI is imported only when it is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from umlite.errors import RequestError
from umlite.kernels.dynamic_heads import split_parameters
from umlite.kernels.implementations import REFERENCE
from umlite.models.config import SegResNetConfig, SwinUNETRConfig
from umlite.models.linear_heads import LinearHeads
from umlite.models.swin_unetr import MERGED_CORNERS
from umlite.models.universal import UniversalModel
from umlite.weights.loading import load_model
from umlite.weights.model_card import ModelCard


class ReferenceNetwork(nn.Module):
    """Windows [N, 1, D, H, W] float32 in [0, 1] -> logits [N, classes, D, H, W], always of all classes.

    Args:
        model: gives the parameters; its U-Net, generator and head input run unchanged.

    Raises:
        RequestError: the backbone is a Swin UNETR or a SegResNet, and MONAI is not installed.
    """

    def __init__(self, model: UniversalModel) -> None:
        super().__init__()
        config = model.config.backbone
        self.backbone = model.backbone
        if isinstance(config, SwinUNETRConfig):
            self.backbone = MonaiSwinUNETR(config, model.backbone)
        elif isinstance(config, SegResNetConfig):
            self.backbone = MonaiSegResNet(config, model.backbone)
        self.generator, self.head_input = model.generator, model.head_input
        self.classes = model.config.head.heads
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        bottleneck, feature = self.backbone(x)
        head_input = self.head_input(feature)
        if isinstance(self.generator, LinearHeads):
            return self.generator.heads(head_input)
        params = self.generator(self.generator.image_vector(bottleneck), range(self.classes))
        return torch.cat([grouped_heads(h[None], p) for h, p in zip(head_input, params, strict=True)])


class MonaiSwinUNETR(nn.Module):
    """MONAI's Swin UNETR without its output convolution, with the parameters of umlite's.

    Args:
        config: sizes of the network.
        source: the Swin UNETR that gives the parameters.

    Raises:
        RequestError: MONAI is not installed, or cannot build a network of this width.
    """

    def __init__(self, config: SwinUNETRConfig, source: nn.Module) -> None:
        super().__init__()
        if config.feature_size % 12:
            raise RequestError(
                f"MONAI builds Swin UNETR only for widths that are multiples of 12, and these weights have "
                f"{config.feature_size}: they cannot be compared with the reference pipeline."
            )
        try:
            from monai.networks.nets import swin_unetr as monai_swin
        except ImportError as error:
            raise _without_monai(error) from error

        class PublishedMerging(monai_swin.PatchMerging):
            """The corners that the published weights were trained with; two of them twice."""

            def forward(self, x: Tensor) -> Tensor:
                corners = [x[:, d::2, h::2, w::2] for d, h, w in MERGED_CORNERS]
                return self.reduction(self.norm(torch.cat(corners, dim=-1)))

        network: Any = monai_swin.SwinUNETR(
            in_channels=1,
            out_channels=1,
            feature_size=config.feature_size,
            depths=config.depths,
            num_heads=config.heads,
            window_size=config.attention_window,
            use_v2=False,
            downsample=PublishedMerging,  # type: ignore[arg-type]
        )
        own = {k: v for k, v in network.state_dict().items() if _is_monais_alone(k)}
        network.load_state_dict({**source.state_dict(), **own})
        network.out = nn.Identity()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        n = self.network
        maps = n.swinViT(x, n.normalize)
        bottleneck = n.encoder10(maps[4])
        y = n.decoder5(bottleneck, maps[3])
        y = n.decoder4(y, n.encoder4(maps[2]))
        y = n.decoder3(y, n.encoder3(maps[1]))
        y = n.decoder2(y, n.encoder2(maps[0]))
        return bottleneck, n.decoder1(y, n.encoder1(x))


class MonaiSegResNet(nn.Module):
    """MONAI's SegResNet without its last layers, with the parameters of umlite's.

    Args:
        config: sizes of the network.
        source: the SegResNet that gives the parameters.

    Raises:
        RequestError: MONAI is not installed.
    """

    def __init__(self, config: SegResNetConfig, source: nn.Module) -> None:
        super().__init__()
        try:
            from monai.networks.nets.segresnet import SegResNet
        except ImportError as error:
            raise _without_monai(error) from error
        network: Any = SegResNet(
            init_filters=config.filters,
            norm=("GROUP", {"num_groups": config.groups}),
            blocks_down=config.blocks_down,
            blocks_up=config.blocks_up,
        )
        own = {k: v for k, v in network.state_dict().items() if k.startswith("conv_final.")}
        network.load_state_dict({**source.state_dict(), **own})
        network.use_conv_final = False
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        bottleneck, levels = self.network.encode(x)
        return bottleneck, self.network.decode(bottleneck, levels[::-1])


def grouped_heads(head_input: Tensor, params: Tensor) -> Tensor:
    """The heads as published: one window [1, K, D, H, W] and its parameters [classes, P] -> [1, classes, D, H, W]."""
    classes, channels = len(params), head_input.shape[1]
    w1, w2, w3, b1, b2, b3 = split_parameters(params, channels)
    y = head_input.repeat(1, classes, 1, 1, 1)
    for weight, bias in ((w1, b1), (w2, b2)):
        kernels = weight.reshape(classes * channels, channels, 1, 1, 1)
        y = F.relu(F.conv3d(y, kernels, bias.reshape(-1), groups=classes))
    return F.conv3d(y, w3.reshape(classes, channels, 1, 1, 1), b3.reshape(-1), groups=classes)


def load_reference(weights: Path, device: str | torch.device = "cpu") -> tuple[ReferenceNetwork, ModelCard]:
    """Load the reference network from a weights file.

    Raises:
        WeightsError: the file is missing, damaged or does not fit the network.
        RequestError: MONAI is needed and not installed.
    """
    model, card = load_model(weights, REFERENCE)
    return ReferenceNetwork(model).to(device), card


def _is_monais_alone(name: str) -> bool:
    """Whether a parameter exists in MONAI's network but not in umlite's weights files."""
    return name.endswith("relative_position_index") or name.startswith("out.")


def _without_monai(error: ImportError) -> RequestError:
    return RequestError(f"The reference pipeline needs MONAI ({error}): install it with `pip install 'umlite[bench]'`.")
