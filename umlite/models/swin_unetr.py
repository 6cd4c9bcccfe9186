"""The Swin UNETR backbone (arXiv 2201.01266): MONAI's network with `use_v2=False`, and the published patch merging.

Submodules carry MONAI's names. Tokens are kept as [N, D, H, W, C] inside the transformer.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from umlite.kernels.implementations import REFERENCE, KernelSet
from umlite.models.config import SwinUNETRConfig

# (d, h, w) offsets of the corners that patch merging gathers. Two corners appear twice and two never: a bug of the
# published network that its weights were trained with.
MERGED_CORNERS = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1))
EPS, SLOPE = 1e-5, 0.01  # of the instance norms and the leaky ReLUs of the convolution blocks


class WindowAttention(nn.Module):
    """Multi-head attention within windows of the token grid, with relative position bias."""

    def __init__(self, channels: int, heads: int, window: int, shift: int, attend: Callable[..., Tensor]) -> None:
        super().__init__()
        self.heads, self.window, self.shift, self.attend = heads, window, shift, attend
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 3, heads))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        table = self.relative_position_bias_table
        return self.proj(self.attend(self.qkv(x), self.qkv.bias, table, self.heads, self.window, self.shift))


class MLP(nn.Module):
    """A perceptron with one hidden layer of four times the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(channels, 4 * channels)
        self.linear2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear2(F.gelu(self.linear1(x)))


class SwinBlock(nn.Module):
    """Window attention and MLP, each after a layer norm and added to its input."""

    def __init__(self, channels: int, heads: int, window: int, shift: int, attend: Callable[..., Tensor]) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads, window, shift, attend)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLP(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchMerging(nn.Module):
    """Merges the normalised corners of each 2^3 block of tokens: [N, D, H, W, C] to [N, D/2, H/2, W/2, 2C]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8 * channels)
        self.reduction = nn.Linear(8 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        corners = [x[:, d::2, h::2, w::2] for d, h, w in MERGED_CORNERS]
        return self.reduction(self.norm(torch.cat(corners, dim=-1)))


class SwinStage(nn.Module):
    """Blocks that alternate between plain and shifted windows, then patch merging."""

    def __init__(self, channels: int, depth: int, heads: int, window: int, attend: Callable[..., Tensor]) -> None:
        super().__init__()
        shifts = [0 if i % 2 == 0 else window // 2 for i in range(depth)]
        self.blocks = nn.ModuleList(SwinBlock(channels, heads, window, shift, attend) for shift in shifts)
        self.downsample = PatchMerging(channels)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.downsample(x)


class PatchEmbed(nn.Module):
    """Turns the image into tokens of half its resolution: [N, 1, D, H, W] to [N, D/2, H/2, W/2, C]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(1, channels, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).permute(0, 2, 3, 4, 1)


class SwinTransformer(nn.Module):
    """[N, 1, D, H, W] -> five feature maps [N, 2^i * C, D/2^(i+1), ...], each normalised over its channels."""

    def __init__(self, config: SwinUNETRConfig, attend: Callable[..., Tensor]) -> None:
        super().__init__()
        size, window = config.feature_size, config.attention_window
        self.patch_embed = PatchEmbed(size)
        for level, (depth, heads) in enumerate(zip(config.depths, config.heads, strict=True)):
            stage = SwinStage(2**level * size, depth, heads, window, attend)
            setattr(self, f"layers{level + 1}", nn.ModuleList([stage]))

    def forward(self, x: Tensor) -> list[Tensor]:
        tokens = self.patch_embed(x)
        maps = [_normalised_map(tokens)]
        for (stage,) in (self.layers1, self.layers2, self.layers3, self.layers4):  # type: ignore[misc]
            tokens = stage(tokens)
            maps.append(_normalised_map(tokens))
        return maps


def _normalised_map(tokens: Tensor) -> Tensor:
    """Layer norm without affine parameters, channels first."""
    return F.layer_norm(tokens, tokens.shape[-1:]).permute(0, 4, 1, 2, 3).contiguous()


class Conv(nn.Module):
    """A convolution without bias, under MONAI's extra level of names."""

    def __init__(self, inputs: int, outputs: int, size: int, transposed: bool = False) -> None:
        super().__init__()
        if transposed:
            self.conv: nn.Module = nn.ConvTranspose3d(inputs, outputs, size, stride=size, bias=False)
        else:
            self.conv = nn.Conv3d(inputs, outputs, size, padding=size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class ResidualBlock(nn.Module):
    """Two convolutions 3^3 with instance norms, plus the input (through 1^3 and a norm if the channels differ)."""

    def __init__(self, inputs: int, outputs: int, norm_act: Callable[..., Tensor]) -> None:
        super().__init__()
        self.norm_act = norm_act
        self.conv1 = Conv(inputs, outputs, 3)
        self.conv2 = Conv(outputs, outputs, 3)
        self.conv3 = Conv(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm_act(self.conv1(x), None, None, None, SLOPE, EPS)
        residual = x if self.conv3 is None else self.norm_act(self.conv3(x), None, None, None, 1.0, EPS)
        return self.norm_act(self.conv2(y), None, None, residual, SLOPE, EPS)


class EncoderBlock(nn.Module):
    """A residual block, under MONAI's extra level of names."""

    def __init__(self, inputs: int, outputs: int, norm_act: Callable[..., Tensor]) -> None:
        super().__init__()
        self.layer = ResidualBlock(inputs, outputs, norm_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class DecoderBlock(nn.Module):
    """Transposed convolution onto the finer grid, concatenation with the skip, residual block."""

    def __init__(self, inputs: int, outputs: int, norm_act: Callable[..., Tensor]) -> None:
        super().__init__()
        self.transp_conv = Conv(inputs, outputs, 2, transposed=True)
        self.conv_block = ResidualBlock(2 * outputs, outputs, norm_act)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.conv_block(torch.cat((self.transp_conv(x), skip), dim=1))


class SwinUNETR(nn.Module):
    """[N, 1, D, H, W] -> bottleneck [N, 16C, D/32, H/32, W/32] and feature [N, C, D, H, W]; D, H, W multiples of 32."""

    def __init__(self, config: SwinUNETRConfig, kernels: KernelSet = REFERENCE) -> None:
        super().__init__()
        c, norm_act = config.feature_size, kernels.norm_act
        self.swinViT = SwinTransformer(config, kernels.window_attention)
        self.encoder1 = EncoderBlock(1, c, norm_act)
        self.encoder2 = EncoderBlock(c, c, norm_act)
        self.encoder3 = EncoderBlock(2 * c, 2 * c, norm_act)
        self.encoder4 = EncoderBlock(4 * c, 4 * c, norm_act)
        self.encoder10 = EncoderBlock(16 * c, 16 * c, norm_act)
        self.decoder5 = DecoderBlock(16 * c, 8 * c, norm_act)
        self.decoder4 = DecoderBlock(8 * c, 4 * c, norm_act)
        self.decoder3 = DecoderBlock(4 * c, 2 * c, norm_act)
        self.decoder2 = DecoderBlock(2 * c, c, norm_act)
        self.decoder1 = DecoderBlock(c, c, norm_act)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.swinViT(x)
        bottleneck = self.encoder10(maps[4])
        y = self.decoder5(bottleneck, maps[3])
        y = self.decoder4(y, self.encoder4(maps[2]))
        y = self.decoder3(y, self.encoder3(maps[1]))
        y = self.decoder2(y, self.encoder2(maps[0]))
        return bottleneck, self.decoder1(y, self.encoder1(x))
