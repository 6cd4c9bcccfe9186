"""Launches of the class-specific heads: logits, or straight into a scan's sums; from head input or from feature."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import triton
from torch import Tensor

from umlite.kernels.triton.heads_dot import WIDTH, heads_dot
from umlite.kernels.triton.heads_fma import heads_fma
from umlite.kernels.triton.launch import architecture, on_device_of


class Stem(NamedTuple):
    """What makes head input of a feature: `weight @ relu(scale * feature + shift) + bias` in every voxel."""

    scale: Tensor  # [N, F]
    shift: Tensor  # [N, F]
    weight: Tensor  # [K, F]
    bias: Tensor  # [K]


class Variant(NamedTuple):
    """How to launch: on tensor cores with `step` classes at once, or by multiply-adds (step 0)."""

    step: int
    block: int
    warps: int


def choose(dtype: torch.dtype, classes: int, channels: int, features: int, gpu: str) -> Variant:
    """The launch table. features: channels of the feature, 0 where head input is read. gpu: as `architecture` has it.

    By the compilers' counts of instructions a voxel and class (budgets.json). Multiply-adds: 165 on
    NVIDIA, of which 136 are the arithmetic; AMD about 180 with two voxels a thread, 150 with four. Tensor cores: about
    52 on NVIDIA, four classes a step whether wanted or not, so from two classes on; 155 on AMD, no gain. Float32 has no
    tensor cores that keep its precision.
    """
    if gpu.startswith("gfx"):
        return Variant(step=0, block=1024, warps=4)
    if dtype == torch.float32 or channels != 8 or classes < 2 or features % WIDTH:
        return Variant(step=0, block=512, warps=4)
    return Variant(step=4, block=256, warps=4)


def launch_heads(source: Tensor, stem: Stem | None, params: Tensor, out: Tensor) -> None:
    """Logits of all classes into `out` [N, classes, D, H, W], contiguous, of any floating type.

    source: [N, K, D, H, W] head input or, with a stem, [N, F, D, H, W] feature; float32, float16 or bfloat16.
    params: [N, classes, P].
    """
    kernel, grid, arguments, options = _prepare(source, stem, params, out.stride(1))
    if out.numel():
        with on_device_of(source):
            kernel[grid](
                *arguments, None, None, out, 0, *_sizes(source, params), *out.stride()[:4], ACCUMULATE=False, **options
            )


def accumulate_heads(
    source: Tensor, stem: Stem | None, params: Tensor, importance: Tensor, sums: Tensor, starts: Tensor
) -> None:
    """Logits times importance [D, H, W] added to float32 `sums` [classes, X, Y, Z], contiguous along Z.

    starts: [N, 3] int64, each window's first voxel in `sums`. One launch a window, in the order given: windows may
    overlap, and the sums are the same every time.
    """
    kernel, (blocks, windows), arguments, options = _prepare(source, stem, params, sums.stride(0))
    importance = importance.to(torch.float32).contiguous()
    starts = starts.to(sums.device, torch.int64).contiguous()
    strides = (0, *sums.stride()[:3])
    if not params.shape[1] * blocks:
        return
    with on_device_of(source):
        for n in range(windows):
            kernel[(blocks, 1)](
                *arguments, importance, starts, sums, n, *_sizes(source, params), *strides, ACCUMULATE=True, **options
            )


def pack_parameters(params: Tensor, k: int) -> Tensor:
    """[N, classes, P] -> float32 [N, classes, (2K + 3) * ROW + 4]: rows of K padded to ROW, a multiple of 4 numbers.

    So every row of weights starts at a multiple of 16 bytes. The order stays.
    """
    if k % 4 == 0:
        return F.pad(params.to(torch.float32), (0, 3))
    rows, last = params.to(torch.float32).split((params.shape[2] - 1, 1), dim=2)
    rows = F.pad(rows.unflatten(2, (-1, k)), (0, -k % 4)).flatten(2)
    return torch.cat((rows, F.pad(last, (0, 3))), dim=2)


def pack_stem(stem: Stem) -> Tensor:
    """float32 [N, F + 1, ROW + 4]: the bias, then for each feature its K weights (padded to ROW), scale and shift."""
    n, features = stem.scale.shape
    k = len(stem.bias)
    packed = stem.scale.new_zeros(n, features + 1, k + -k % 4 + 4, dtype=torch.float32)
    packed[:, 0, :k] = stem.bias
    packed[:, 1:, :k] = stem.weight.T
    packed[:, 1:, -4] = stem.scale
    packed[:, 1:, -3] = stem.shift
    return packed


def _prepare(
    source: Tensor, stem: Stem | None, params: Tensor, class_stride: int
) -> tuple[Any, tuple[int, int], tuple[Tensor | None, ...], dict[str, Any]]:
    """Kernel, grid, its first arguments (source, stem, weights) and its options. class_stride: of the answer."""
    channels = source.shape[1] if stem is None else len(stem.weight)
    features = 0 if stem is None else source.shape[1]
    variant = choose(source.dtype, params.shape[1], channels, features, architecture(source))
    if WIDTH * max(class_stride, source.stride(1)) >= 2**31:  # products step over several classes in 32 bits
        variant = variant._replace(step=0, block=512)
    voxels = source.shape[2:].numel()
    if variant.step and features and voxels % 16:  # features read one by one take twice the registers
        variant = variant._replace(warps=8)
    grid = (triton.cdiv(voxels, variant.block), len(source))
    packed = (source.flatten(2), None if stem is None else pack_stem(stem), pack_parameters(params, channels))
    options = {"K": channels, "ROW": channels + -channels % 4, "FEATURES": features, "BLOCK": variant.block}
    if variant.step:
        options |= {"STEP": variant.step, "WIDTH": WIDTH}
    options |= {"num_warps": variant.warps, "enable_fp_fusion": True}
    return heads_dot if variant.step else heads_fma, grid, packed, options


def _sizes(source: Tensor, params: Tensor) -> tuple[int, ...]:
    """Classes, voxels, rows and columns of a window, and the strides of the flattened source."""
    depth, rows, columns = source.shape[2:]
    return params.shape[1], depth * rows * columns, rows, columns, *source.flatten(2).stride()
