"""The heads' Triton kernels, interpreted, against their references: every way in, every way out, every dtype."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="needs Triton, whose interpreter needs no GPU")

from support.gpu.canaries import Guarded
from support.gpu.compiled import record
from support.gpu.interpreter import interpreted
from umlite.kernels.blend import blend_ref
from umlite.kernels.dynamic_heads import dynamic_heads, dynamic_heads_ref
from umlite.kernels.fused_heads import fused_heads, fused_heads_ref
from umlite.kernels.triton import dynamic_heads as launcher
from umlite.kernels.triton.dynamic_heads import Stem, Variant, accumulate_heads, choose, launch_heads

F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16
FMA, DOT = Variant(step=0, block=256, warps=4), Variant(step=4, block=256, warps=4)


def inputs(dtype: torch.dtype, size: tuple[int, int, int], classes: int, channels: int = 8, features: int = 0):
    """Source, stem (or None) and params of two windows."""
    torch.manual_seed(0)
    source = torch.randn(2, features or channels, *size).to(dtype)
    params = torch.randn(2, classes, 2 * channels**2 + 3 * channels + 1) * 0.3
    if not features:
        return source, None, params
    scale, shift = torch.rand(2, features) + 0.5, torch.randn(2, features)
    stem = Stem(scale, shift, torch.randn(channels, features) * 0.2, torch.randn(channels))
    return source, stem, params


def answers(source: torch.Tensor, stem: Stem | None, params: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits by plain torch in float32 and in the source's dtype."""
    if stem is None:
        return dynamic_heads_ref(source.float(), params), dynamic_heads(source, params.to(source.dtype))
    return fused_heads_ref(source.float(), *stem, params), fused_heads(source, *stem, params)


def check(found: torch.Tensor, exact: torch.Tensor, plain: torch.Tensor, dtype: torch.dtype) -> None:
    """The tolerance: against float32, at most twice as wrong as plain torch in the same dtype.

    In float16 and bfloat16 plain torch rounds the parameters, every layer and the logits to 16 bits; the kernels round
    no more than that. Where plain torch happens to be nearer than its dtype can promise, one unit in the last place of
    the largest logit is allowed: 9.8e-4 of it in float16, 7.8e-3 in bfloat16, and 1e-6 in float32, for the order of
    its sums. The rule knows neither machine nor size.
    """
    unit = max(torch.finfo(dtype).eps, 1e-6) * exact.abs().max().item()
    allowed = max(2 * (plain - exact).abs().max().item(), unit)
    assert (found.float() - exact).abs().max().item() <= allowed


@pytest.fixture
def variant(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Variant:
    """Blocks of 256 voxels, so that few voxels make several programs."""
    chosen: Variant = request.param
    monkeypatch.setattr(launcher, "choose", lambda *_: chosen)
    return chosen


EVERY = [(FMA, F32), (FMA, F16), (FMA, BF16), (DOT, F16), (DOT, BF16)]
NAMES = ["multiply-add float32", "multiply-add float16", "multiply-add bfloat16", "product float16", "product bfloat16"]


@pytest.mark.parametrize(("variant", "dtype"), EVERY, indirect=["variant"], ids=NAMES)
@pytest.mark.parametrize(("size", "features"), [((1, 1, 1), 0), ((1, 1, 257), 0), ((3, 5, 17), 16)], ids=str)
def test_logits(size, features: int, dtype: torch.dtype, variant: Variant) -> None:
    source, stem, params = inputs(dtype, size, classes=1 if variant.step == 0 else 5, features=features)
    out = Guarded(*params.shape[:2], *size, dtype=dtype)
    with interpreted():
        launch_heads(source, stem, params, out.tensor)
    check(out.check(), *answers(source, stem, params), dtype)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize(("variant", "dtype"), [(FMA, F32), (DOT, F16)], indirect=["variant"], ids=["fma", "product"])
@pytest.mark.parametrize("classes", [1, 40])
def test_one_class_and_many(classes: int, dtype: torch.dtype) -> None:
    source, stem, params = inputs(dtype, (1, 3, 85), classes)
    source, params = source[:1], params[:1]
    out = Guarded(1, classes, 1, 3, 85, dtype=dtype)
    with interpreted():
        launch_heads(source, stem, params, out.tensor)
    check(out.check(), *answers(source, stem, params), dtype)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize(("variant", "dtype"), [(FMA, F32), (DOT, F16)], indirect=["variant"], ids=["fma", "product"])
@pytest.mark.parametrize("features", [0, 16])
@pytest.mark.parametrize("layout", ["channels last", "strided"])
def test_other_layouts(layout: str, features: int, dtype: torch.dtype) -> None:
    source, stem, params = inputs(dtype, (3, 5, 7), 2, features=features)
    exact = answers(source, stem, params)
    if layout == "strided":
        source = torch.stack((source, source), dim=-1)[..., 0]
    else:
        source = source.to(memory_format=torch.channels_last_3d)
    params = torch.stack((params, params), dim=-1)[..., 0]
    out = Guarded(*exact[0].shape, dtype=dtype)
    with interpreted():
        launch_heads(source, stem, params, out.tensor)
    check(out.check(), *exact, dtype)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("variant", [FMA], indirect=True, ids=["fma"])
@pytest.mark.parametrize("features", [0, 3])
def test_widths_that_are_no_multiple_of_four(features: int) -> None:
    source, stem, params = inputs(F32, (2, 3, 5), 2, channels=5, features=features)
    out = Guarded(2, 2, 2, 3, 5)
    with interpreted():
        launch_heads(source, stem, params, out.tensor)
    check(out.check(), *answers(source, stem, params), F32)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize(
    ("variant", "dtype"), [EVERY[0], *EVERY[3:]], indirect=["variant"], ids=["fma", "product", "product bf16"]
)
@pytest.mark.parametrize("features", [0, 16])
@pytest.mark.parametrize("shift", [0, 1, 3])
def test_sums_of_overlapping_windows(shift: int, features: int, dtype: torch.dtype) -> None:
    size, classes = (2, 5, 18), 2
    source, stem, params = inputs(dtype, size, classes, features=features)
    importance, before = torch.rand(size), torch.randn(classes, 8, 9, 40)
    starts = torch.tensor([[0, 1, shift], [2, 3, 16 + shift]])
    sums = Guarded(*before.shape, values=before, strides=(8 * 9 * 48, 9 * 48, 48, 1))
    with interpreted():
        accumulate_heads(source, stem, params, importance, sums.tensor, starts)
    expected = [before.clone(), before.clone()]
    for total, logits in zip(expected, answers(source, stem, params), strict=True):
        blend_ref(logits, importance, total, starts)
    check(sums.check(), *expected, dtype)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize(("variant", "dtype"), [(FMA, F32), (DOT, F16)], indirect=["variant"], ids=["fma", "product"])
def test_sums_of_windows_at_every_alignment(dtype: torch.dtype) -> None:
    source, _, params = inputs(dtype, (1, 3, 5), 1)
    source, params = source[:1].expand(16, -1, -1, -1, -1), params[:1].expand(16, -1, -1)
    importance, starts = torch.rand(1, 3, 5), torch.tensor([[1, 0, z] for z in range(16)])
    sums = Guarded(1, 2, 3, 21, values=torch.zeros(1, 2, 3, 21))
    with interpreted():
        accumulate_heads(source, None, params, importance, sums.tensor, starts)
    expected = [torch.zeros(1, 2, 3, 21), torch.zeros(1, 2, 3, 21)]
    for total, logits in zip(expected, answers(source, None, params), strict=True):
        blend_ref(logits, importance, total, starts)
    check(sums.check(), *expected, dtype)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize(("variant", "dtype"), [(FMA, F32), (DOT, F16)], indirect=["variant"], ids=["fma", "product"])
def test_not_a_number_stays_one(dtype: torch.dtype) -> None:
    source, stem, params = inputs(dtype, (1, 1, 5), 2)
    source[0, 3, 0, 0, 2] = float("nan")
    out = Guarded(2, 2, 1, 1, 5, dtype=dtype)
    with interpreted():
        launch_heads(source, stem, params, out.tensor)
    assert out.check().isnan().sum() == 2
    assert out.tensor[0, :, 0, 0, 2].isnan().all()


def test_nothing_to_do_launches_nothing() -> None:
    def run() -> None:
        for windows, classes, side in [(0, 2, 3), (1, 0, 3), (1, 2, 0)]:
            source, params = torch.zeros(windows, 8, side, side, side), torch.zeros(windows, classes, 153)
            launch_heads(source, None, params, torch.zeros(windows, classes, side, side, side))
            places = torch.zeros(windows, 3, dtype=torch.int64)
            accumulate_heads(source, None, params, torch.zeros(side, side, side), torch.zeros(classes, 9, 9, 9), places)

    assert record(run, "sm_90") == []


def test_no_windows_of_a_feature_launch_nothing() -> None:
    def run() -> None:
        feature, params = torch.zeros(0, 16, 3, 3, 3, dtype=F16), torch.zeros(0, 2, 153)
        stem = Stem(torch.zeros(0, 16), torch.zeros(0, 16), torch.zeros(8, 16), torch.zeros(8))
        place = torch.zeros(3, 3, 3), torch.zeros(2, 9, 9, 9), torch.zeros(0, 3, dtype=torch.int64)
        launch_heads(feature, stem, params, torch.zeros(0, 2, 3, 3, 3))
        accumulate_heads(feature, stem, params, *place)

    assert record(run, "sm_90") == []


@pytest.mark.parametrize(("side", "kernel"), [(400, "heads_dot"), (1024, "heads_fma")])
def test_sums_of_more_than_two_billion_numbers(side: int, kernel: str) -> None:
    """Steps over several classes would not fit 32 bits; over one they do, and the rest is 64 bits wide."""

    def run() -> None:
        source, params = torch.empty(1, 8, 96, 96, 96, dtype=F16, device="meta"), torch.empty(1, 4, 153, device="meta")
        place = torch.empty(96, 96, 96, device="meta"), torch.empty(4, side, side, side, device="meta")
        accumulate_heads(source, None, params, *place, torch.empty(1, 3, dtype=torch.int64, device="meta"))

    assert [launch.name for launch in record(run, "sm_90")] == [kernel]


def test_launch_table() -> None:
    assert choose(F16, 32, 8, 0, "sm_90").step == choose(BF16, 2, 8, 48, "sm_80").step == 4
    for arguments in [(F32, 32, 8, 0), (F16, 1, 8, 0), (F16, 32, 5, 0), (F16, 32, 8, 20)]:
        assert choose(*arguments, "sm_90").step == 0, "float32 stays float32; products want eight channels"
    assert choose(F16, 32, 8, 0, "gfx942").step == 0
