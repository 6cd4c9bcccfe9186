"""The fused heads' Triton kernels, interpreted, against the reference: both kernels, all dtypes and layouts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

pytest.importorskip("triton", reason="needs Triton, whose interpreter needs no GPU")

from support.gpu.canaries import Guarded
from support.gpu.compiled import record
from support.gpu.interpreter import interpreted
from umlite.kernels.fused_heads import fused_heads, fused_heads_ref
from umlite.kernels.triton import fused_heads as launcher
from umlite.kernels.triton.fused_heads import Problem, Stem, Variant, choose, launch_fused_heads

F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16
FMA, DOT = Variant(step=0, block=256, warps=4), Variant(step=4, block=256, warps=4)
WINDOWS = 2

EVERY = [(FMA, F32), (FMA, F16), (FMA, BF16), (DOT, F16), (DOT, BF16)]
NAMES = ["multiply-add float32", "multiply-add float16", "multiply-add bfloat16", "product float16", "product bfloat16"]
every_kernel = pytest.mark.parametrize(("variant", "dtype"), EVERY, indirect=["variant"], ids=NAMES)
both_kernels = pytest.mark.parametrize(
    ("variant", "dtype"), [(FMA, F32), (DOT, F16)], indirect=["variant"], ids=["multiply-add", "product"]
)


@pytest.fixture
def variant(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Variant:
    """Blocks of 256 voxels, so that few voxels make several programs."""
    chosen: Variant = request.param
    monkeypatch.setattr(launcher, "choose", lambda *_: chosen)
    return chosen


def inputs(dtype: torch.dtype, size: tuple[int, int, int], classes: int, channels: int = 8, features: int = 16):
    """Feature, stem and params of two windows."""
    torch.manual_seed(0)
    feature = torch.randn(WINDOWS, features, *size).to(dtype)
    params = torch.randn(WINDOWS, classes, 2 * channels**2 + 3 * channels + 1) * 0.3
    scale, shift = torch.rand(WINDOWS, features) + 0.5, torch.randn(WINDOWS, features)
    return feature, Stem(scale, shift, torch.randn(channels, features) * 0.2, torch.randn(channels)), params


def into(sums: torch.Tensor, operation: Callable[..., None], *arguments: torch.Tensor) -> torch.Tensor:
    operation(*arguments[:-2], arguments[-2], sums, arguments[-1])
    return sums


def check(
    feature: torch.Tensor,
    stem: Stem,
    params: torch.Tensor,
    starts: torch.Tensor,
    volume: tuple[int, int, int],
    exact_feature: torch.Tensor | None = None,
) -> None:
    """The tolerance: against float32, at most twice as wrong as plain torch in the same dtype.

    In float16 and bfloat16 plain torch rounds the parameters, every layer and the logits to 16 bits; the kernels round
    no more than that. Where plain torch happens to be nearer than its dtype can promise, one unit in the last place of
    the largest sum is allowed: 9.8e-4 of it in float16, 7.8e-3 in bfloat16, and 1e-6 in float32, for the order of
    its sums. The rule knows neither machine nor size. exact_feature: the same numbers in an ordinary layout.
    """
    ordinary = feature if exact_feature is None else exact_feature
    importance, before = torch.rand(feature.shape[2:]), torch.randn(params.shape[1], *volume)
    rest = (*stem, params, importance, starts)
    sums = Guarded(*before.shape, values=before, strides=_padded_strides(volume))
    with interpreted():
        launch_fused_heads(feature, stem, params, importance, sums.tensor, starts)
    exact = into(before.clone(), fused_heads_ref, ordinary.float(), *rest)
    plain = into(before.clone(), fused_heads, ordinary, *rest)
    unit = max(torch.finfo(feature.dtype).eps, 1e-6) * exact.abs().max().item()
    allowed = max(2 * (plain - exact).abs().max().item(), unit)
    assert (sums.check() - exact).abs().max().item() <= allowed


def _padded_strides(volume: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Of sums whose rows are wider than what is used of them, as a part of a larger buffer has."""
    row = volume[2] + 8
    return volume[0] * volume[1] * row, volume[1] * row, row, 1


def apart(size: tuple[int, int, int]) -> tuple[torch.Tensor, tuple[int, int, int]]:
    """Starts of windows beside each other, and the volume that holds them."""
    return torch.tensor([[k * size[0], 0, 0] for k in range(WINDOWS)]), (WINDOWS * size[0], *size[1:])


@every_kernel
@pytest.mark.parametrize("size", [(1, 1, 1), (1, 1, 257), (3, 5, 17)], ids=str)
def test_sums(size: tuple[int, int, int], dtype: torch.dtype, variant: Variant) -> None:
    feature, stem, params = inputs(dtype, size, classes=1 if variant.step == 0 else 5)
    check(feature, stem, params, *apart(size))


@pytest.mark.usefixtures("variant")
@both_kernels
@pytest.mark.parametrize("classes", [1, 40])
def test_one_class_and_many(classes: int, dtype: torch.dtype) -> None:
    check(*inputs(dtype, (1, 3, 85), classes), *apart((1, 3, 85)))


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize(
    ("variant", "dtype"),
    [pytest.param(FMA, F32, marks=pytest.mark.slow, id="multiply-add"), pytest.param(DOT, F16, id="product")],
    indirect=["variant"],
)
def test_two_hundred_classes_in_one_launch(dtype: torch.dtype) -> None:
    check(*inputs(dtype, (1, 3, 7), 201), *apart((1, 3, 7)))


@pytest.mark.usefixtures("variant")
@both_kernels
@pytest.mark.parametrize("layout", ["channels last", "strided"])
def test_other_layouts(layout: str, dtype: torch.dtype) -> None:
    feature, stem, params = inputs(dtype, (3, 5, 7), 2)
    if layout == "strided":
        laid_out = torch.stack((feature, feature), dim=-1)[..., 0]
    else:
        laid_out = feature.to(memory_format=torch.channels_last_3d)
    params = torch.stack((params, params), dim=-1)[..., 0]
    check(laid_out, stem, params, *apart((3, 5, 7)), exact_feature=feature)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("variant", [FMA], indirect=True, ids=["multiply-add"])
def test_widths_that_are_no_multiple_of_four() -> None:
    check(*inputs(F32, (2, 3, 5), 2, channels=5, features=3), *apart((2, 3, 5)))


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("variant", [FMA], indirect=True, ids=["multiply-add"])
@pytest.mark.parametrize("dtype", [F32, F16], ids=str)
def test_heads_of_one_layer(dtype: torch.dtype) -> None:
    feature, stem, params = inputs(dtype, (2, 3, 5), 3, channels=16)
    stem = Stem(stem.scale, stem.shift, torch.eye(16), torch.zeros(16))
    check(feature, stem, params[..., :17].contiguous(), *apart((2, 3, 5)))


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize(
    ("variant", "dtype"), [EVERY[0], *EVERY[3:]], indirect=["variant"], ids=["multiply-add", "product", "product bf16"]
)
@pytest.mark.parametrize("shift", [0, 1, 3])
def test_overlapping_windows(shift: int, dtype: torch.dtype) -> None:
    starts = torch.tensor([[0, 1, shift], [1, 3, 13 + shift]])
    check(*inputs(dtype, (2, 5, 18), 2), starts, (8, 9, 40))


@pytest.mark.usefixtures("variant")
@both_kernels
def test_windows_at_every_alignment(dtype: torch.dtype) -> None:
    feature, stem, params = inputs(dtype, (1, 3, 5), 1)
    of_windows = (feature, stem.scale, stem.shift, params)
    feature, scale, shift, params = (tensor[:1].expand(16, *tensor.shape[1:]) for tensor in of_windows)
    starts = torch.tensor([[1, 0, z] for z in range(16)])
    check(feature, Stem(scale, shift, *stem[2:]), params, starts, (2, 3, 21))


@pytest.mark.usefixtures("variant")
@both_kernels
def test_not_a_number_stays_one(dtype: torch.dtype) -> None:
    feature, stem, params = inputs(dtype, (1, 1, 5), 2)
    feature[0, 3, 0, 0, 2] = float("nan")
    starts, volume = apart((1, 1, 5))
    sums = torch.zeros(2, *volume)
    with interpreted():
        launch_fused_heads(feature, stem, params, torch.ones(1, 1, 5), sums, starts)
    assert sums.isnan().sum() == 2
    assert sums[:, 0, 0, 2].isnan().all()


def test_nothing_to_do_launches_nothing() -> None:
    def run() -> None:
        for windows, classes, side in [(0, 2, 3), (1, 0, 3), (1, 2, 0)]:
            feature, params = torch.zeros(windows, 16, side, side, side, dtype=F16), torch.zeros(windows, classes, 153)
            stem = Stem(torch.zeros(windows, 16), torch.zeros(windows, 16), torch.zeros(8, 16), torch.zeros(8))
            place = torch.zeros(side, side, side), torch.zeros(classes, 9, 9, 9)
            launch_fused_heads(feature, stem, params, *place, torch.zeros(windows, 3, dtype=torch.int64))

    assert record(run, "sm_90") == []


@pytest.mark.parametrize(("side", "kernel"), [(400, "fused_heads_dot"), (1024, "fused_heads_fma")])
def test_sums_of_more_than_two_billion_numbers(side: int, kernel: str) -> None:
    """Steps over several classes would not fit 32 bits; over one they do, and the rest is 64 bits wide."""

    def meta(*shape: int, dtype: torch.dtype = F32) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    def run() -> None:
        stem = Stem(meta(1, 16), meta(1, 16), meta(8, 16), meta(8))
        place = meta(96, 96, 96), meta(4, side, side, side), meta(1, 3, dtype=torch.int64)
        launch_fused_heads(meta(1, 16, 96, 96, 96, dtype=F16), stem, meta(1, 4, 153), *place)

    assert [launch.name for launch in record(run, "sm_90")] == [kernel]


PUBLISHED = Problem(F16, channels=8, features=48, voxels=96**3, stride=96**3)


def test_launch_table() -> None:
    assert choose(PUBLISHED, "sm_90") == Variant(step=4, block=256, warps=4)
    assert choose(PUBLISHED._replace(dtype=BF16), "sm_80").step == 4
    assert choose(PUBLISHED._replace(voxels=95**3), "sm_90").warps == 8, "unaligned features take more registers"
    alone = [{"dtype": F32}, {"channels": 5}, {"features": 20}, {"stride": 2**27}]
    assert {choose(PUBLISHED._replace(**changed), "sm_90").step for changed in alone} == {0}
    assert choose(PUBLISHED, "gfx942").step == 0
