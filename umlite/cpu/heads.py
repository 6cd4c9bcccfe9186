"""Parameter generator and class-specific heads on the native path: from a backbone's activations to logits."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from umlite.cpu.activation import Activation, Floats, padded
from umlite.cpu.libraries import load
from umlite.cpu.mirror import Mirror, address
from umlite.cpu.pending import Pending, pending
from umlite.errors import WeightsError
from umlite.machine.memory import refused
from umlite.models.linear_heads import LinearHeads
from umlite.models.parameter_generator import ParameterGenerator
from umlite.models.universal import UniversalModel

MOST_INNER_CHANNELS = 64


class _Heads(Mirror):
    declared = ("heads.c", "heads_t")
    _fields_ = (
        ("feature", Pending),
        *((name, ctypes.c_void_p) for name in ("norm_scale", "norm_shift", "mix", "mix_bias", "parameters", "target")),
        *((name, ctypes.c_int64) for name in ("class_stride", "depth_stride", "height_stride")),
        *((name, ctypes.c_void_p) for name in ("importance", "mixed")),
        *((name, ctypes.c_int64) for name in ("depth", "height", "width", "inner", "classes", "threads", "layers")),
    )


class Heads:
    """Everything behind the backbone, for one window at a time (arXiv 2405.18356, section 3).

    Only requested classes cost time. To the bit, a class's numbers do not depend on the other requested classes.

    Args:
        model: its parameter generator and head input are used.
        feature: [D, H, W, C], which the backbone's kernels rewrite with every window; each call reads it again.
        bottleneck: [d, h, w, B], likewise.
        threads: threads of every kernel.

    Raises:
        CompilerError: the kernels cannot be built.
        WeightsError: a head that they do not know.
    """

    def __init__(self, model: UniversalModel, feature: Activation, bottleneck: Activation, threads: int) -> None:
        self._kernels, self._norms = load("heads"), load("group_norm")
        self.feature, self.bottleneck, self.threads = feature, bottleneck, threads
        head = model.config.head
        if head.channels > MOST_INNER_CHANNELS:
            raise WeightsError(
                f"Expected heads of at most {MOST_INNER_CHANNELS} channels on the native CPU path, found "
                f"{head.channels}: use another engine."
            )
        norm = model.head_input[0]
        assert isinstance(norm, nn.GroupNorm)
        self._feature_norm = _GroupNorm(self._norms, norm, feature, threads)
        mix, bias = model.head_layer()
        self._mix = np.zeros((padded(mix.shape[1]), padded(mix.shape[0])), np.float32)
        self._mix[: mix.shape[1], : mix.shape[0]] = mix.t().numpy()
        self._mix_bias = np.zeros(padded(mix.shape[0]), np.float32)
        self._mix_bias[: mix.shape[0]] = bias.numpy()
        self.inner = int(mix.shape[0])
        self._layers = 1 if isinstance(model.generator, LinearHeads) else 3
        if isinstance(model.generator, ParameterGenerator):
            norm, conv = model.generator.gap[0], model.generator.gap[3]
            assert isinstance(norm, nn.GroupNorm)
            assert isinstance(conv, nn.Conv3d)
            assert conv.bias is not None
            self._bottleneck_norm = _GroupNorm(self._norms, norm, bottleneck, threads)
            self._gap_weight = conv.weight.detach().flatten(1).double().numpy()
            self._gap_bias = conv.bias.detach().double().numpy()
        self._folded = functools.lru_cache(maxsize=4)(model.generator.fold)

    @property
    def grid(self) -> tuple[int, int, int]:
        """The grid (D, H, W) of the logits."""
        return self.feature.grid

    def image_vector(self) -> Tensor:
        """The image vector [1, gap_width] float32: group norm, ReLU, mean over the bottleneck, one linear map.

        [1, 0] for heads that do not depend on the image.
        """
        if self._layers == 1:
            return torch.empty(1, 0)
        norm = self._bottleneck_norm
        norm.update()
        mean = np.zeros(self.bottleneck.data.shape[-1])
        self._norms.pooled_mean(
            ctypes.c_int64(self.threads),
            ctypes.c_int64(norm.voxels),
            ctypes.byref(norm.source),
            ctypes.c_void_p(address(norm.scale)),
            ctypes.c_void_p(address(norm.shift)),
            ctypes.c_void_p(address(mean, np.float64)),
        )
        vector = self._gap_weight @ mean[: self._gap_weight.shape[1]] + self._gap_bias
        return torch.from_numpy(vector.astype(np.float32))[None]

    @torch.inference_mode()
    def parameters(self, classes: Sequence[int]) -> Floats:
        """The parameters [classes, P] float32 of each class's head for the current window."""
        made: Floats = self._folded(tuple(classes))(self.image_vector())[0].contiguous().numpy()
        return made

    def logits(self, classes: Sequence[int], out: Floats | None = None, head_input: Floats | None = None) -> Floats:
        """The logits [classes, D, H, W] float32 of the current window.

        Args:
            classes: positions of heads.
            out: where to write them, rows contiguous; a new array by default.
            head_input: [inner, D, H, W] float32, contiguous, gets what the heads read (for checks).
        """
        if out is None:
            out = np.empty((len(classes), *self.grid), np.float32)
        self._run(classes, out, None, head_input)
        return out

    def add(self, classes: Sequence[int], sums: Floats, importance: Floats) -> None:
        """Add importance * logits to sums without logits in memory.

        Args:
            classes: positions of heads.
            sums: [classes, D, H, W] float32, contiguous along the last axis, any strides elsewhere.
            importance: [D, H, W] float32, contiguous.
        """
        if importance.shape != self.grid:
            raise ValueError(f"Expected importance of shape {self.grid}, found {importance.shape}.")
        self._run(classes, sums, importance, None)

    def _run(
        self, classes: Sequence[int], target: Floats, importance: Floats | None, head_input: Floats | None
    ) -> None:
        if target.shape != (len(classes), *self.grid):
            raise ValueError(f"Expected a target of shape {(len(classes), *self.grid)}, found {target.shape}.")
        if head_input is not None and head_input.shape != (self.inner, *self.grid):
            raise ValueError(f"Expected a head input of shape {(self.inner, *self.grid)}, found {head_input.shape}.")
        parameters = self.parameters(classes)
        norm = self._feature_norm
        norm.update()
        depth, height, width = self.grid
        self._kernels.heads(
            ctypes.byref(
                _Heads(
                    norm.source,
                    address(norm.scale),
                    address(norm.shift),
                    address(self._mix),
                    address(self._mix_bias),
                    address(parameters),
                    address(target, rows=True),
                    *(stride // 4 for stride in target.strides[:3]),
                    None if importance is None else address(importance),
                    None if head_input is None else address(head_input),
                    depth,
                    height,
                    width,
                    self.inner,
                    len(classes),
                    self.threads,
                    self._layers,
                )
            )
        )


class _GroupNorm:
    """Group norm of an activation as scale and shift, [channels as stored], for its next reader."""

    def __init__(self, kernels: ctypes.CDLL, norm: nn.GroupNorm, activation: Activation, threads: int) -> None:
        self._kernels, self._threads = kernels, threads
        self._channels, self._groups, self._eps = norm.num_channels, norm.num_groups, norm.eps
        self._gamma = np.ascontiguousarray(norm.weight.detach().numpy())
        self._beta = np.ascontiguousarray(norm.bias.detach().numpy())
        self._activation = activation
        self.source = pending(activation)
        self.voxels = int(np.prod(activation.grid))
        self.scale = np.zeros(activation.data.shape[-1], np.float32)
        self.shift = np.zeros_like(self.scale)

    def update(self) -> None:
        """Take the statistics of the activation as it is now."""
        failed = self._kernels.group_norm(
            *(ctypes.c_int64(n) for n in (self._threads, self.voxels, self._channels, self._groups)),
            ctypes.c_double(self._eps),
            ctypes.byref(self.source),
            *(ctypes.c_void_p(address(a)) for a in (self._gamma, self._beta, self.scale, self.shift)),
        )
        if failed:
            raise refused(16 * self.scale.size * 128, "the statistics of a group norm")
