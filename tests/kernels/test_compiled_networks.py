"""Every launch that the published networks make, from scan to masks, compiled: the sizes of all their levels.

And launches with the arguments that Triton compiles apart: ones, numbers that are no multiple of 16, pointers that are
not aligned, views. Such code is other code than what the budgets look at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", reason="needs Triton, which compiles for GPUs without one")

from support.gpu.budgets import EXACT, VERSION
from support.gpu.compiled import Launch, compile_launch, record
from support.gpu.operations import TRITON, on_gpu
from support.gpu.stub_driver import TARGETS
from umlite.kernels.blend import blend
from umlite.kernels.channel_scale_shift import channel_scale_shift
from umlite.kernels.decide import decide_bits
from umlite.kernels.fused_heads import fused_heads
from umlite.kernels.gather import gather_windows
from umlite.kernels.norm_act import norm_act
from umlite.kernels.resample import resample_hu, rows_of
from umlite.kernels.window_attention import window_attention
from umlite.models.config import HeadConfig, NetworkConfig, SwinUNETRConfig, UNetConfig
from umlite.models.universal import UniversalModel

LAST = torch.channels_last_3d
Backbone = UNetConfig | SwinUNETRConfig
SPILLED = 0 if VERSION in EXACT else 32
"""Bytes a thread: Triton 3.5 spills 8 to 16 in float32, 3.3 some at one odd size."""


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def a_window(backbone: Backbone, dtype: torch.dtype, layout: torch.memory_format) -> Callable[[], None]:
    """One window of 96^3 and 32 classes through a published network, out of a scan and into its sums."""

    def run() -> None:
        with torch.device("meta"):
            model = UniversalModel(NetworkConfig(backbone, HeadConfig(32)), TRITON)
        model.backbone.to(dtype=dtype, memory_format=layout)  # type: ignore[call-overload]
        starts = meta(1, 3, dtype=torch.int64)
        windows = on_gpu(gather_windows)(meta(243, 191, 322), starts, (96, 96, 96), dtype)
        _, feature = model.backbone(windows)
        norm, _, convolution = model.head_input
        stem = on_gpu(channel_scale_shift)(feature, norm.weight, norm.bias, norm.num_groups, norm.eps)
        layer = (convolution.weight.flatten(1), convolution.bias)
        sums = meta(32, 243, 191, 96)
        params = meta(1, 32, 153)
        on_gpu(fused_heads)(feature, *stem, *layer, params, meta(96, 96, 96), sums, starts)
        on_gpu(decide_bits)(sums[..., :48])

    return run


def ones() -> None:
    """Everything that can be 1 is."""
    one = meta(1, 1, 1, 1, 1)
    on_gpu(gather_windows)(meta(1, 1, 1), meta(1, 3, dtype=torch.int64), (1, 1, 1), torch.float32)
    on_gpu(norm_act)(one, None, None, None, 1.0, 1e-5)
    on_gpu(channel_scale_shift)(one, meta(1), meta(1), 1, 1e-5)
    on_gpu(decide_bits)(meta(1, 1, 1, 1))
    on_gpu(window_attention)(meta(1, 1, 1, 1, 3), meta(3), meta(1, 1), 1, 1, 0)
    for dtype, classes in ((torch.float32, 1), (torch.float16, 1), (torch.float16, 2)):
        stem = (meta(1, 16), meta(1, 16), meta(8, 16), meta(8))
        place = (meta(1, 1, 1), meta(classes, 1, 1, 1), meta(1, 3, dtype=torch.int64))
        on_gpu(fused_heads)(meta(1, 16, 1, 1, 1, dtype=dtype), *stem, meta(1, classes, 153), *place)
        on_gpu(blend)(meta(1, classes, 1, 1, 1, dtype=dtype), *place)
    rows = rows_of(np.eye(4))
    on_gpu(resample_hu)(meta(1, 1, 1), rows, (1, 1, 1), 0.0, 1.0)


def odd() -> None:
    """Primes, pointers off their alignment, strides of parts of buffers."""
    starts = meta(5, 3, dtype=torch.int64)[1:]
    volume = meta(23, 29, 32)[..., 1:]
    on_gpu(gather_windows)(volume, starts, (7, 11, 13), torch.bfloat16)
    x = meta(2, 23, 7, 11, 13, dtype=torch.float16)
    for each in (x, x.to(memory_format=LAST)):
        on_gpu(norm_act)(each[1:], meta(24)[1:], meta(23), each[1:], 0.01, 1e-5)
    on_gpu(decide_bits)(meta(33, 7, 12, 14)[1:, :, 1:, 1:])
    qkv = meta(2, 5, 6, 7, 3 * 2 * 24, dtype=torch.float16)[1:]
    on_gpu(window_attention)(qkv, meta(3 * 2 * 24, dtype=torch.float16), meta(13**3, 2), 2, 7, 3)
    for dtype in (torch.float16, torch.bfloat16):
        feature, params = meta(2, 48, 7, 11, 13, dtype=dtype), meta(2, 33, 153)[:, 1:]
        stem = (meta(2, 48), meta(2, 48), meta(8, 48), meta(8))
        place = (meta(7, 11, 13), meta(33, 23, 29, 32)[1:, ..., 1:], starts[:2])
        on_gpu(fused_heads)(feature, *stem, params, *place)
        on_gpu(blend)(meta(2, 32, 7, 11, 13, dtype=dtype), *place)
    rows = rows_of(np.eye(4))
    on_gpu(resample_hu)(meta(23, 29, 32, dtype=torch.int16)[1:, :, 1:], rows, (17, 19, 23), 0.0, 1.0)


def different(launches: Iterable[Launch]) -> list[Launch]:
    """One of each that Triton may compile apart."""

    def kind(value: Any) -> object:
        if isinstance(value, Tensor):
            return value.dtype, value.storage_offset() * value.element_size() % 16
        if isinstance(value, int):
            return value == 1, value % 16 == 0, value >= 2**31
        return value

    found: dict[object, Launch] = {}
    for launch in launches:
        options = tuple((name, str(value)) for name, value in launch.options.items())
        found.setdefault((launch.name, tuple(kind(value) for value in launch.args), options), launch)
    return list(found.values())


def check(run: Callable[[], None], target: str) -> None:
    for launch in different(record(run, target)):
        code = compile_launch(launch, target)
        assert code.spilled <= SPILLED, f"{launch.name} spills {code.spilled} on {target}: {launch.options}"


UNET, SWIN = UNetConfig(), SwinUNETRConfig()
RUNS = {
    "ones": ones,
    "odd": odd,
    "unet, float16": a_window(UNET, torch.float16, LAST),
    "swin_unetr, float16": a_window(SWIN, torch.float16, LAST),
    "unet, float32": a_window(UNET, torch.float32, torch.contiguous_format),
    "swin_unetr, float32": a_window(SWIN, torch.float32, torch.contiguous_format),
}


@pytest.mark.parametrize("run", [RUNS["ones"], RUNS["odd"]], ids=["ones", "odd"])
def test_arguments_that_are_compiled_apart(run: Callable[[], None]) -> None:
    check(run, "sm_90")


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_every_launch_compiles(run: Callable[[], None], target: str) -> None:
    check(run, target)
