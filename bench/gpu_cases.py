"""Each GPU kernel at the sizes of a published window, with its reference, its bytes and its operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bench import kernel_counts
from umlite.kernels.blend import blend, blend_ref
from umlite.kernels.channel_scale_shift import channel_scale_shift, channel_scale_shift_ref
from umlite.kernels.decide import decide_bits, decide_bits_ref
from umlite.kernels.fused_heads import fused_heads, fused_heads_ref
from umlite.kernels.gather import gather_windows, gather_windows_ref
from umlite.kernels.norm_act import norm_act, norm_act_ref
from umlite.kernels.resample import resample_hu, resample_hu_ref
from umlite.kernels.window_attention import window_attention, window_attention_ref
from umlite.windows import importance_map

TOLERANCE = {torch.float32: 3e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}
"""Largest difference from the float32 reference, by the reference's largest magnitude. float16: a rounding of the
answer is 5e-4; tensor cores round the operands of three products one after the other. bfloat16 has three bits less."""
KERNELS_OF_HEADS = 8  # channels of the head input
CLASSES, FEATURES = 32, 64


@dataclass(frozen=True)
class Case:
    """One kernel on one set of arguments.

    launch: runs it; what is timed. answer: runs it once on fresh outputs. expected: the same of the reference, float32
    inside. tolerance: see TOLERANCE; 0 asks for the same numbers. bytes: that must cross memory. flop: of the
    arithmetic by definition, on `unit`: "half" (tensor cores) or "float". issued: instructions times lanes that it was
    compiled to for a target; 0 where they are not counted.
    """

    name: str
    launch: Callable[[], object]
    answer: Callable[[], tuple[Tensor, ...]]
    expected: Callable[[], tuple[Tensor, ...]]
    tolerance: float
    bytes: int
    flop: float = 0.0
    unit: str = "float"
    issued: Callable[[str], float] = lambda _target: 0.0


def cases(device: torch.device, side: int = 96) -> Iterator[Case]:
    """All kernels, each made when it is asked for. side: of the window, a multiple of 2.

    On a CPU, where scripts are tried, float32 alone: the operations take no mixed dtypes there. bfloat16 where the GPU
    has it.
    """
    dtypes = [torch.float32]
    if device.type != "cpu":
        with torch.cuda.device(device):
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        dtypes = [torch.float16, torch.float32, *[torch.bfloat16] * native]
    generator = torch.Generator(device).manual_seed(0)

    def noise(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(*shape, device=device, generator=generator).to(dtype)

    for dtype in dtypes:
        yield _gather(noise, side, dtype)
        yield _heads(noise, side, dtype)
        yield _blend(noise, side, dtype)
        yield from _norms(noise, side, dtype)
        yield _attention(noise, side // 2, dtype)
    yield _decide(noise, side)
    yield _resampling(noise, side)


Noise = Callable[..., Tensor]


def _gather(noise: Noise, side: int, dtype: torch.dtype) -> Case:
    volume = noise(2 * side, side + 8, 2 * side)
    starts = torch.tensor([[0, 0, 0], [side // 2, 8, side], [side, 1, 3]], device=volume.device)
    arguments = (volume, starts, (side, side, side), dtype)
    return Case(
        _named("gather_windows", dtype),
        lambda: gather_windows(*arguments),
        lambda: (gather_windows(*arguments),),
        lambda: (gather_windows_ref(*arguments),),
        0,
        len(starts) * side**3 * (4 + dtype.itemsize),
    )


def _heads(noise: Noise, side: int, dtype: torch.dtype) -> Case:
    k, voxels = KERNELS_OF_HEADS, side**3
    feature = noise(1, FEATURES, side, side, side, dtype=dtype)
    if dtype != torch.float32:
        feature = feature.to(memory_format=torch.channels_last_3d)
    stem = (1 + 0.1 * noise(1, FEATURES), 0.1 * noise(1, FEATURES), 0.2 * noise(k, FEATURES), noise(k))
    importance = importance_map((side, side, side)).to(feature.device)
    rest = (*stem, 0.3 * noise(1, CLASSES, 2 * k * k + 3 * k + 1), importance)
    starts = torch.tensor([[3, 0, 5]], device=feature.device)
    kept = torch.ones(CLASSES, side + 5, side, side + 16, device=feature.device)
    return Case(
        _named("fused_heads", dtype),
        lambda: fused_heads(feature, *rest, kept, starts),
        lambda: (_filled(torch.ones_like(kept), lambda out: fused_heads(feature, *rest, out, starts)),),
        lambda: (_filled(torch.ones_like(kept), lambda out: fused_heads_ref(feature.float(), *rest, out, starts)),),
        TOLERANCE[dtype],
        voxels * (FEATURES * dtype.itemsize + 4 + CLASSES * 8),
        2.0 * voxels * (CLASSES * (2 * k * k + k) + FEATURES * k),
        "float" if dtype == torch.float32 else "half",
        _counted(dtype, lambda target: kernel_counts.heads(voxels, CLASSES, target)),
    )


def _blend(noise: Noise, side: int, dtype: torch.dtype) -> Case:
    logits = noise(2, CLASSES, side, side, side, dtype=dtype)
    importance = importance_map((side, side, side)).to(logits.device)
    starts = torch.tensor([[3, 0, 5], [0, 0, 6]], device=logits.device)
    kept = torch.ones(CLASSES, side + 5, side, side + 16, device=logits.device)
    return Case(
        _named("blend", dtype),
        lambda: blend(logits, importance, kept, starts),
        lambda: (_filled(torch.ones_like(kept), lambda out: blend(logits, importance, out, starts)),),
        lambda: (_filled(torch.ones_like(kept), lambda out: blend_ref(logits, importance, out, starts)),),
        TOLERANCE[torch.float32],
        2 * side**3 * (CLASSES * (dtype.itemsize + 8) + 4),
    )


def _norms(noise: Noise, side: int, dtype: torch.dtype) -> Iterator[Case]:
    for layout in (torch.channels_last_3d, torch.contiguous_format):
        x = (2 * noise(1, FEATURES, side, side, side, dtype=dtype) + 1).to(memory_format=layout)
        residual = noise(1, FEATURES, side, side, side, dtype=dtype).to(memory_format=layout)
        order = "channels last" if layout == torch.channels_last_3d else "channels first"
        yield _norm(x, residual, f"{_named('norm_act', dtype)}, {order}")
    yield _statistics(x, _named("channel_scale_shift", dtype))


def _norm(x: Tensor, residual: Tensor, name: str) -> Case:
    options = (None, None, residual, 0.01, 1e-5)
    return Case(
        name,
        lambda: norm_act(x, *options),
        lambda: (norm_act(x, *options),),
        lambda: (norm_act_ref(x.float(), None, None, residual.float(), 0.01, 1e-5),),
        TOLERANCE[x.dtype],
        4 * x.nbytes,  # read for the statistics, read with the residual, written
        issued=_counted(x.dtype, lambda target: kernel_counts.norm_act(x.numel(), target)),
    )


def _statistics(x: Tensor, name: str) -> Case:
    return Case(
        name,
        lambda: channel_scale_shift(x, None, None, 16, 1e-5),
        lambda: channel_scale_shift(x, None, None, 16, 1e-5),
        lambda: channel_scale_shift_ref(x.float(), None, None, 16, 1e-5),
        TOLERANCE[torch.float32],  # the statistics are float32 whatever x is
        x.nbytes,
        issued=_counted(x.dtype, lambda target: kernel_counts.statistics(x.numel(), target)),
    )


def _attention(noise: Noise, side: int, dtype: torch.dtype) -> Case:
    """The first level of Swin UNETR, shifted: 48 channels, 3 heads, windows of 7."""
    channels, heads, window = 48, 3, 7
    qkv, padding = noise(1, side, side, side, 3 * channels, dtype=dtype), noise(3 * channels, dtype=dtype)
    table = noise((2 * window - 1) ** 3, heads)
    windows, tokens = (-(-side // window)) ** 3, window**3
    return Case(
        _named("window_attention", dtype),
        lambda: window_attention(qkv, padding, table, heads, window, 3),
        lambda: (window_attention(qkv, padding, table, heads, window, 3),),
        lambda: (window_attention_ref(qkv.float(), padding.float(), table, heads, window, 3),),
        TOLERANCE[dtype],
        qkv.nbytes * 4 // 3,
        4.0 * windows * tokens**2 * channels,
        "float" if dtype == torch.float32 else "half",
        _counted(dtype, lambda target: kernel_counts.attention((side, side, side), heads, window, 3, target)),
    )


def _decide(noise: Noise, side: int) -> Case:
    sums = noise(CLASSES, side, 2 * side, 2 * side + 3)[..., : 2 * side]
    return Case(
        "decide_bits, float32",
        lambda: decide_bits(sums),
        lambda: decide_bits(sums),
        lambda: decide_bits_ref(sums),
        0,
        sums.numel() * 4 + sums[0].numel() * 4,
    )


def _resampling(noise: Noise, side: int) -> Case:
    """A scan as read from a file, its first axis contiguous, to the model's grid."""
    shape, stored = (side, side, side), (side + 7, side + 5, side + 9)
    volume = (500 * noise(*reversed(stored))).to(torch.int16).permute(2, 1, 0)
    to_source = [0.71, 0.0, 0.0, 0.33, 0.0, 0.83, 0.0, 1.33, 0.0, 0.0, 0.57, 2.33]
    arguments = (volume, to_source, shape, -175.0, 250.0)
    return Case(
        "resample_hu, int16",
        lambda: resample_hu(*arguments),
        lambda: (resample_hu(*arguments),),
        lambda: (resample_hu_ref(*arguments),),
        TOLERANCE[torch.float32],
        volume.nbytes + 4 * side**3,
    )


def _counted(dtype: torch.dtype, count: Callable[[str], float]) -> Callable[[str], float]:
    """`count` for float16, which the table of counts is read for, and for the GPUs that it holds."""

    def issued(target: str) -> float:
        try:
            return count(target) if dtype == torch.float16 else 0.0
        except KeyError:
            return 0.0

    return issued


def _filled(out: Tensor, fill: Callable[[Tensor], object]) -> Tensor:
    fill(out)
    return out


def _named(kernel: str, dtype: torch.dtype) -> str:
    return f"{kernel}, {str(dtype).removeprefix('torch.')}"
