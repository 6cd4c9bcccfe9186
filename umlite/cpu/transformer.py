"""The transformer of Swin UNETR (umlite/models/swin_unetr.py) on the native CPU kernels, one window at a time.

Tokens are not moved: attention finds its windows by index, whatever the padding and the shift. Scale and shift of a
layer norm are part of the linear layer that reads it. So are attention's scale and the change of its exponentials from
base e to base 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
from torch import nn

from umlite.cpu import buffers
from umlite.cpu.activation import Activation, Floats, padded
from umlite.cpu.buffers import Arena
from umlite.cpu.packing import Doubles, doubles, floats
from umlite.cpu.token_layers import CORNERS, LOG2_E, TokenLayers, expanded_bias, window_sides
from umlite.kernels.window_attention import relative_position_index
from umlite.models.swin_unetr import (
    MERGED_CORNERS,
    PatchMerging,
    SwinBlock,
    SwinStage,
    SwinTransformer,
    WindowAttention,
)
from umlite.progress import Notify, no_notice

GATHERED = tuple(dict.fromkeys(MERGED_CORNERS))
"""Corners as the kernel gathers them, each once; MERGED_CORNERS has two of them twice."""


class NativeTransformer:
    """From an image to the five maps of tokens.

    After `prepare`, run the calls of `steps`, pairs of a name and a call, in order for every window.

    Args:
        model: its parameters are packed.
        image: [D, H, W] float32, sides multiples of 32.
        maps: activations [D/2, H/2, W/2, C] to [D/32, H/32, W/32, 16 C]. The steps write their data: tokens after each
            stage, normalised over their channels.
        threads: threads of every layer.
        storage: memory that nothing else needs while the steps run, used if it is large enough.
        allot: makes other memory.
        notify: gets a sentence when something takes long once.

    Raises:
        CompilerError: the kernels cannot be built.
    """

    def __init__(
        self,
        model: SwinTransformer,
        image: Floats,
        maps: Sequence[Activation],
        threads: int,
        *,
        storage: Floats | None = None,
        allot: Callable[..., Floats] = buffers.zeros,
        notify: Notify = no_notice,
    ) -> None:
        self._model: SwinTransformer | None = model
        stages = [cast(SwinStage, getattr(model, f"layers{number}")[0]) for number in range(1, 5)]
        self._layers = TokenLayers(threads, allot=allot, notify=notify)
        self.steps: list[tuple[str, Callable[[], None]]] = self._layers.steps
        needed = sum(_floats(tokens, stage) for tokens, stage in zip(maps, stages, strict=False)) + maps[-1].data.size
        self._memory = Arena(allot(needed) if storage is None or storage.size < needed else storage, allot)
        tokens = self._embed(model.patch_embed.proj, image, maps[0])
        for number, (stage, target) in enumerate(zip(stages, maps[1:], strict=True), 1):
            tokens = self._stage(f"layers{number}", stage, tokens, target)
            self._layers.layer_norm(f"proj_out{number}", tokens, target.channels, target.data)
        self.weight_bytes = self._layers.weight_bytes

    def prepare(self, *, keep: bool = True) -> None:
        """Find or make the packed weights (keep: in the cache). The torch module is not needed afterwards."""
        assert self._model is not None
        self._layers.prepare((floats(tensor) for tensor in self._model.parameters()), keep=keep)
        self._model = None

    def run(self) -> None:
        """Compute one window, from the image to the maps."""
        for _, call in self.steps:
            call()

    def _embed(self, projection: nn.Conv3d, image: Floats, target: Activation) -> Floats:
        channels, stored = target.channels, padded(target.channels)
        tokens = self._memory.take(*target.grid, stored)

        def weights() -> tuple[Doubles, ...]:
            return _padded(doubles(projection.weight).reshape(channels, 8).T, stored), _padded_bias(projection, stored)

        self._layers.patch_embedding("patch_embed", image, weights, tokens)
        self._layers.layer_norm("proj_out0", tokens, channels, target.data)
        return tokens

    def _stage(self, name: str, stage: SwinStage, tokens: Floats, target: Activation) -> Floats:
        """Declare the blocks of a stage, in place. Returns the tokens that patch merging makes."""
        channels, width = target.channels // 2, _head_width(stage)
        qkv = self._memory.take(*tokens.shape[:3], 3 * width)
        attended = self._memory.take(*tokens.shape[:3], width)
        for i, block in enumerate(stage.blocks):
            self._attention(f"{name}.{i}", cast(SwinBlock, block), tokens, channels, qkv, attended)
            self._perceptron(f"{name}.{i}.mlp", cast(SwinBlock, block), tokens, channels)
        merged = self._memory.take(*target.grid, padded(target.channels))

        def weights() -> tuple[Doubles, ...]:
            return _merging(stage.downsample, channels, tokens.shape[3], merged.shape[3])

        self._layers.merge(f"{name}.merge", tokens, channels, weights, merged)
        return merged

    def _attention(
        self, name: str, block: SwinBlock, tokens: Floats, channels: int, qkv: Floats, attended: Floats
    ) -> None:
        attention, stored = block.attn, tokens.shape[3]
        heads, window = attention.heads, attention.window

        def qkv_weights() -> tuple[Doubles, ...]:
            weight, bias = _with_norm(block.norm1, attention.qkv)
            return _rows_padded(_by_heads(weight, heads), stored), _by_heads(bias[None], heads)

        def scores() -> tuple[Doubles | Floats, Doubles | Floats]:
            count = int(np.prod(window_sides(tokens.shape[:3], window)))
            index = relative_position_index(window)[:count, :count].numpy()
            padding = _by_heads(doubles(attention.qkv.bias)[None], heads)  # a padded token is zero after the norm
            return padding, expanded_bias(doubles(attention.relative_position_bias_table), index)

        def projection() -> tuple[Doubles, ...]:
            return _projection(attention, attended.shape[3], stored), _padded_bias(attention.proj, stored)

        self._layers.linear(f"{name}.qkv", tokens, qkv_weights, qkv, normalised=channels)
        self._layers.attention(f"{name}.attention", qkv, heads, scores, attended, window, attention.shift)
        self._layers.linear(f"{name}.proj", attended, projection, tokens, add=True)

    def _perceptron(self, name: str, block: SwinBlock, tokens: Floats, channels: int) -> None:
        stored, hidden = tokens.shape[3], padded(4 * channels)

        def weights() -> tuple[Doubles, ...]:
            weight, bias = _with_norm(block.norm2, block.mlp.linear1)
            second = _padded(doubles(block.mlp.linear2.weight).T, stored)
            return (
                _rows_padded(_padded(weight, hidden), stored),
                _padded(bias[None], hidden),
                _rows_padded(second, hidden),
                _padded_bias(block.mlp.linear2, stored),
            )

        self._layers.perceptron(name, tokens, channels, hidden, weights)


def _floats(tokens: Activation, stage: SwinStage) -> int:
    """Floats that a stage keeps: its tokens, queries, keys and values, and the result of attention."""
    return tokens.data.size + int(np.prod(tokens.grid)) * 4 * _head_width(stage)


def _head_width(stage: SwinStage) -> int:
    """Stored channels of all heads of a stage."""
    attention = cast(SwinBlock, stage.blocks[0]).attn
    return attention.heads * padded(attention.proj.out_features // attention.heads)


def _with_norm(norm: nn.LayerNorm, linear: nn.Linear) -> tuple[Doubles, Doubles]:
    """Weight [inputs, outputs] and bias of a linear layer, with the scale and shift of the norm before it."""
    weight = doubles(linear.weight).T
    bias = doubles(linear.bias) if linear.bias is not None else np.zeros(weight.shape[1])
    return weight * doubles(norm.weight)[:, None], bias + doubles(norm.bias) @ weight


def _by_heads(columns: Doubles, heads: int) -> Doubles:
    """[rows, 3 * channels] -> [rows, 3 * heads * padded(width of a head)], queries times log2(e) / sqrt(width)."""
    split = columns.reshape(len(columns), 3, heads, -1)
    width = split.shape[3]
    made = np.zeros((len(columns), 3, heads, padded(width)))
    made[..., :width] = split
    made[:, 0] *= width**-0.5 * LOG2_E
    return made.reshape(len(columns), -1)


def _projection(attention: WindowAttention, inputs: int, outputs: int) -> Doubles:
    """The weight [inputs, outputs] of the projection, for heads as they are stored."""
    channels = attention.proj.out_features
    rows = doubles(attention.proj.weight).reshape(channels, attention.heads, -1)
    return _padded(_padded(rows, inputs // attention.heads).reshape(channels, inputs).T, outputs)


def _merging(merging: PatchMerging, channels: int, stored: int, outputs: int) -> tuple[Doubles, Doubles]:
    """Weight [6 * stored, outputs] and bias of patch merging; columns of a corner that appears twice are added."""
    weight, bias = _with_norm(merging.norm, merging.reduction)
    folded = np.zeros((CORNERS, stored, outputs))
    for corner, part in zip(MERGED_CORNERS, weight.reshape(len(MERGED_CORNERS), channels, -1), strict=True):
        folded[GATHERED.index(corner), :channels, : part.shape[1]] += part
    return folded.reshape(CORNERS * stored, outputs), _padded(bias[None], outputs)


def _padded(array: Doubles, width: int) -> Doubles:
    """An array with zeros added to its last axis."""
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, width - array.shape[-1])])


def _rows_padded(array: Doubles, rows: int) -> Doubles:
    """An array with zeros added to the first of its two axes."""
    return np.pad(array, [(0, rows - len(array)), (0, 0)])


def _padded_bias(layer: nn.Linear | nn.Conv3d, width: int) -> Doubles:
    assert layer.bias is not None
    return _padded(doubles(layer.bias)[None], width)
