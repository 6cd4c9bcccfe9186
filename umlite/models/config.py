"""Configurations of networks: plain numbers, read from a weights file or from the shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from umlite.errors import WeightsError

Shapes = Mapping[str, tuple[int, ...]]

GENERATORS = ("shared", "embedding", "per_class", "linear")
MOST_CHANNELS = 8192
MOST_BLOCKS = 64  # of a level


@dataclass(frozen=True)
class UNetConfig:
    """A 3-D U-Net of four levels. `channels` are the channels of its levels, from full resolution down."""

    kind: ClassVar[str] = "unet"
    window_multiple: ClassVar[int] = 8
    channels: tuple[int, int, int, int] = (64, 128, 256, 512)

    @property
    def feature_channels(self) -> int:
        """Channels of the last layer, at full resolution."""
        return self.channels[0]

    @property
    def bottleneck_channels(self) -> int:
        """Channels of the coarsest level."""
        return self.channels[-1]

    @classmethod
    def from_shapes(cls, shapes: Shapes) -> UNetConfig:
        levels = (64, 128, 256, 512)  # the published names of the levels, whatever their width
        return cls(tuple(shapes[f"backbone.down_tr{n}.ops.1.conv1.weight"][0] for n in levels))  # type: ignore[arg-type]


@dataclass(frozen=True)
class SwinUNETRConfig:
    """A Swin UNETR (MONAI's, `use_v2=False`) with the published patch merging."""

    kind: ClassVar[str] = "swin_unetr"
    window_multiple: ClassVar[int] = 32
    feature_size: int = 48
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    heads: tuple[int, int, int, int] = (3, 6, 12, 24)
    attention_window: int = 7

    @property
    def feature_channels(self) -> int:
        """Channels of the last layer, at full resolution."""
        return self.feature_size

    @property
    def bottleneck_channels(self) -> int:
        """Channels of the coarsest level."""
        return 16 * self.feature_size

    @classmethod
    def from_shapes(cls, shapes: Shapes) -> SwinUNETRConfig:
        def depth(level: int) -> int:
            stem = f"backbone.swinViT.layers{level}.0.blocks."
            return len({name[len(stem) :].split(".")[0] for name in shapes if name.startswith(stem)})

        tables = [
            shapes[f"backbone.swinViT.layers{i}.0.blocks.0.attn.relative_position_bias_table"] for i in range(1, 5)
        ]
        return cls(
            feature_size=shapes["backbone.swinViT.patch_embed.proj.weight"][0],
            depths=tuple(depth(i) for i in range(1, 5)),  # type: ignore[arg-type]
            heads=tuple(table[1] for table in tables),  # type: ignore[arg-type]
            attention_window=(round(tables[0][0] ** (1 / 3)) + 1) // 2,
        )


@dataclass(frozen=True)
class SegResNetConfig:
    """A SegResNet (MONAI's, arXiv 1810.11654, without its autoencoder): four levels of residual blocks.

    Args:
        filters: channels of the finest level; each coarser one has twice as many.
        blocks_down: residual blocks of the encoder's levels, from full resolution down.
        blocks_up: of the decoder's, from coarse to full resolution.
        groups: groups of the group norms, which no shape tells; MONAI's default.
    """

    kind: ClassVar[str] = "segresnet"
    window_multiple: ClassVar[int] = 8
    filters: int = 16
    blocks_down: tuple[int, int, int, int] = (1, 2, 2, 4)
    blocks_up: tuple[int, int, int] = (1, 1, 1)
    groups: int = 8

    @property
    def feature_channels(self) -> int:
        """Channels of the last layer, at full resolution."""
        return self.filters

    @property
    def bottleneck_channels(self) -> int:
        """Channels of the coarsest level."""
        return 8 * self.filters

    @classmethod
    def from_shapes(cls, shapes: Shapes) -> SegResNetConfig:
        def blocks(level: str) -> int:
            name = re.compile(rf"backbone\.{level}\.\d+\.conv1\.conv\.weight")
            return sum(name.fullmatch(one) is not None for one in shapes)

        return cls(
            filters=shapes["backbone.convInit.conv.weight"][0],
            blocks_down=tuple(blocks(rf"down_layers\.{i}") for i in range(4)),  # type: ignore[arg-type]
            blocks_up=tuple(blocks(rf"up_layers\.{i}") for i in range(3)),  # type: ignore[arg-type]
        )


@dataclass(frozen=True)
class HeadConfig:
    """Configuration of the parameter generator and the class-specific heads.

    Args:
        classes: number of classes that the generator was trained with.
        generator: "shared" (one controller, text_to_vision), "embedding" (one controller, a learned row per class
            instead of text; the published `rand_embedding`), "per_class" (a controller of two layers per class) or
            "linear" (none: heads of one layer with weights of their own, as a SegResNet has).
        embedding_width: width of the stored table (512 for CLIP text features); 0 if there is none.
        task_width: width of the task vector of a shared controller; 0 if there is none.
        hidden_width: width between the two layers of a per-class controller; 0 if there is none.
        gap_width: width of the image vector; 0 if there is none.
        channels: channels of the heads.
        groups: groups of the group norms.
        added: number of classes added later, whose controllers are their own (`umlite.models.added_controllers`).
    """

    classes: int
    generator: str = "shared"
    embedding_width: int = 512
    task_width: int = 256
    hidden_width: int = 512
    gap_width: int = 256
    channels: int = 8
    groups: int = 16
    added: int = 0

    @property
    def heads(self) -> int:
        """Number of all heads, added ones last."""
        return self.classes + self.added

    @property
    def parameters(self) -> int:
        """Parameters per class: two square layers and one row, with biases (153 for 8 channels); if linear, the row."""
        if self.generator == "linear":
            return self.channels + 1
        return 2 * self.channels**2 + self.channels + 2 * self.channels + 1

    @classmethod
    def linear(cls, classes: int, channels: int, groups: int = 8) -> HeadConfig:
        """Heads of one layer, without a parameter generator."""
        return cls(classes, "linear", 0, 0, 0, 0, channels, groups)

    @classmethod
    def from_shapes(cls, shapes: Shapes, groups: int = 16) -> HeadConfig:
        classes, embedding_width = shapes["generator.embedding"]
        gap_width = shapes["generator.gap.3.weight"][0]
        sizes: dict[str, Any] = {"embedding_width": embedding_width, "gap_width": gap_width, "groups": groups}
        sizes["channels"] = shapes["head_input.2.weight"][0]
        sizes["added"] = shapes.get("generator.added.bias", (0,))[0]
        if "generator.controllers.0.0.weight" in shapes:
            return cls(
                classes, "per_class", hidden_width=shapes["generator.controllers.0.0.weight"][0], task_width=0, **sizes
            )
        if "generator.text_to_vision.weight" in shapes:
            task_width = shapes["generator.text_to_vision.weight"][0]
            return cls(classes, "shared", task_width=task_width, hidden_width=0, **sizes)
        return cls(classes, "embedding", task_width=embedding_width, hidden_width=0, **sizes)


BackboneConfig = UNetConfig | SwinUNETRConfig | SegResNetConfig
BACKBONES: dict[str, type[UNetConfig] | type[SwinUNETRConfig] | type[SegResNetConfig]] = {
    c.kind: c for c in (UNetConfig, SwinUNETRConfig, SegResNetConfig)
}


@dataclass(frozen=True)
class NetworkConfig:
    """The configuration of a whole network: backbone and head."""

    backbone: BackboneConfig
    head: HeadConfig

    @classmethod
    def from_shapes(cls, shapes: Shapes, groups: int = 16) -> NetworkConfig:
        """Read the configuration from the shapes of a model's tensors.

        Args:
            shapes: shape of each tensor by its name in umlite's layout.
            groups: groups of the group norms, which no shape tells.

        Raises:
            WeightsError: the tensors belong to no known backbone.
        """
        try:
            if "backbone.convInit.conv.weight" in shapes:
                segresnet = SegResNetConfig.from_shapes(shapes)
                classes, channels = shapes["generator.heads.weight"][:2]
                return cls(segresnet, HeadConfig.linear(classes, channels, segresnet.groups))
            if any(name.startswith("backbone.swinViT.") for name in shapes):
                backbone: UNetConfig | SwinUNETRConfig = SwinUNETRConfig.from_shapes(shapes)
            else:
                backbone = UNetConfig.from_shapes(shapes)
            return cls(backbone, HeadConfig.from_shapes(shapes, groups))
        except (KeyError, IndexError, ValueError) as error:
            raise WeightsError(
                "These are not the weights of a Universal Model: expected a U-Net or Swin UNETR backbone with a "
                f"parameter generator, or a SegResNet, found no usable {error}."
            ) from error

    def __post_init__(self) -> None:
        """Raise WeightsError for sizes that no network can have, since a configuration may come from anywhere."""
        if not (_is_sound(self.backbone) and _is_sound_head(self.head) and self._fit()):
            raise WeightsError(f"No network can be built from {self.backbone!r:.300} with {self.head!r:.300}.")

    def _fit(self) -> bool:
        """Whether head and backbone belong together."""
        head, backbone = self.head, self.backbone
        if (head.generator == "linear") != isinstance(backbone, SegResNetConfig):
            return False
        if head.generator == "linear":
            return head.channels == backbone.feature_channels and head.channels % head.groups == 0
        return backbone.feature_channels % head.groups == backbone.bottleneck_channels % head.groups == 0

    def to_dict(self) -> dict[str, Any]:
        return {"backbone": {"kind": self.backbone.kind, **asdict(self.backbone)}, "head": asdict(self.head)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NetworkConfig:
        """Inverse of `to_dict`. Raises KeyError, TypeError or ValueError for anything else."""
        options: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data["backbone"].items()}
        kind = BACKBONES[options.pop("kind")]
        return cls(kind(**options), HeadConfig(**data["head"]))


def _is_sound(backbone: BackboneConfig) -> bool:
    sizes = [n for value in vars(backbone).values() for n in (value if isinstance(value, tuple) else (value,))]
    if not all(type(n) is int and 1 <= n <= MOST_CHANNELS for n in sizes):
        return False
    lengths = {name: len(value) for name, value in vars(backbone).items() if isinstance(value, tuple)}
    if lengths != {name: len(value) for name, value in vars(type(backbone)()).items() if isinstance(value, tuple)}:
        return False
    if isinstance(backbone, UNetConfig):
        return min(backbone.channels) > 1  # a level's first half of its channels
    if isinstance(backbone, SwinUNETRConfig):
        dividable = all(2**i * backbone.feature_size % n == 0 for i, n in enumerate(backbone.heads))
        return dividable and max(backbone.depths) <= MOST_BLOCKS and backbone.attention_window <= 16
    return backbone.filters % backbone.groups == 0 and max(backbone.blocks_down + backbone.blocks_up) <= MOST_BLOCKS


def _is_sound_head(head: HeadConfig) -> bool:
    sizes = [head.classes, head.channels, head.groups]
    widths = [head.embedding_width, head.gap_width, head.task_width, head.hidden_width, head.added]
    sound = (
        all(type(n) is int and 1 <= n <= MOST_CHANNELS for n in sizes)
        and all(type(n) is int and 0 <= n <= MOST_CHANNELS for n in widths)
        and head.generator in GENERATORS
    )
    if not sound or head.generator == "linear":
        return sound and not any(widths)
    used = {"shared": head.task_width, "embedding": head.task_width, "per_class": head.hidden_width}
    made = min(head.embedding_width, head.gap_width, used[head.generator]) > 0
    return made and (head.generator != "embedding" or head.task_width == head.embedding_width)
