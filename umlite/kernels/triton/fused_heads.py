"""Launches of the fused heads: from the backbone's feature into a scan's sums, one a window."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from umlite.kernels.dynamic_heads import as_three_layers, of_one_layer
from umlite.kernels.triton.fused_heads_dot import WIDTH, fused_heads_dot
from umlite.kernels.triton.fused_heads_fma import fused_heads_fma
from umlite.kernels.triton.launch import architecture, on_device_of


class Stem(NamedTuple):
    """What makes head input of a feature: `weight @ relu(scale * feature + shift) + bias` in every voxel."""

    scale: Tensor  # [N, F]
    shift: Tensor  # [N, F]
    weight: Tensor  # [K, F]
    bias: Tensor  # [K]


class Problem(NamedTuple):
    """What the best way to launch depends on."""

    dtype: torch.dtype  # of the feature
    channels: int  # of the head input
    features: int
    voxels: int  # of a window
    stride: int  # elements from channel to channel of the feature or from class to class of the sums, the larger


class Variant(NamedTuple):
    """How to launch: on tensor cores with `step` classes at once, or by multiply-adds (step 0)."""

    step: int
    block: int  # voxels of a program
    warps: int


def choose(problem: Problem, gpu: str) -> Variant:
    """The launch table. gpu: as `architecture` has it.

    By the compilers' counts of instructions a voxel and class (budgets.json). Multiply-adds: 171 on NVIDIA, of which
    136 are the arithmetic, and 18 for each feature; AMD about 180 with two voxels a thread, 150 with four. Tensor
    cores: about 65 on NVIDIA, four classes a step whether wanted or not, and 6 for each feature: fewer from one class
    on. On AMD 155, no gain. Float32 has no tensor cores that keep its precision.
    """
    if gpu.startswith("gfx"):
        return Variant(step=0, block=1024, warps=4)
    if problem.dtype == torch.float32:
        return Variant(step=0, block=512, warps=4)
    near = WIDTH * problem.stride < 2**31  # products step over channels and classes in 32 bits
    if problem.channels != 8 or problem.features % WIDTH or not near:
        return Variant(step=0, block=256, warps=4)  # 512 spills where 16-bit channels are neighbours in memory
    aligned = problem.voxels % 16 == 0  # else features are read one by one, which takes twice the registers
    return Variant(step=4, block=256, warps=4 if aligned else 8)


def launch_fused_heads(
    feature: Tensor, stem: Stem, params: Tensor, importance: Tensor, sums: Tensor, starts: Tensor
) -> None:
    """Logits times importance [D, H, W] added to float32 `sums` [classes, X, Y, Z], contiguous along Z.

    feature: [N, F, D, H, W] float32, float16 or bfloat16, any strides. params: [N, classes, P]. starts: [N, 3] int64,
    each window's first voxel in `sums`. Windows go in the order given: they may overlap, and the sums are the same
    every time. Heads of one layer run as three whose first two change nothing.
    """
    windows, features, _, rows, columns = feature.shape
    classes, channels = params.shape[1], len(stem.weight)
    if not feature.numel() or not classes:
        return
    if of_one_layer(params, channels):
        params = as_three_layers(params, channels)
    flat = feature.flatten(2)
    voxels = flat.shape[2]
    problem = Problem(feature.dtype, channels, features, voxels, max(flat.stride(1), sums.stride(0)))
    variant = choose(problem, architecture(feature))
    kernel, options = _kernel(variant, channels, features)
    packed = (flat, pack_stem(stem), pack_parameters(params, channels))
    place = (importance.to(torch.float32).contiguous(), starts.to(sums.device, torch.int64).contiguous(), sums)
    sizes = (classes, voxels, rows, columns, *flat.stride(), *sums.stride()[:3])
    with on_device_of(feature):
        for i_window in range(windows):
            kernel[(triton.cdiv(voxels, variant.block),)](*packed, *place, i_window, *sizes, **options)


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


def _kernel(variant: Variant, channels: int, features: int) -> tuple[Any, dict[str, Any]]:
    """The kernel of a variant and its keyword arguments."""
    options: dict[str, Any] = {"K": channels, "ROW": channels + -channels % 4, "FEATURES": features}
    options |= {"BLOCK": variant.block, "num_warps": variant.warps, "enable_fp_fusion": True}
    if not variant.step:
        return fused_heads_fma, options
    return fused_heads_dot, {**options, "STEP": variant.step, "WIDTH": WIDTH, "OUT": max(variant.step, narrowest())}


@functools.cache
def narrowest() -> int:
    """Columns of the narrowest product: 8, or what a Triton asks for that does not pad narrow ones by itself."""
    try:
        from triton.backends.nvidia.compiler import min_dot_size
    except ImportError:  # no part of what Triton promises to keep; those that pad came later
        return 8
    _, columns, _ = min_dot_size(triton.runtime.driver.active.get_current_target())(tl.float16, tl.float16)
    return max(8, columns)
