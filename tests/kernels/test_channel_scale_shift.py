"""Statistics as scale and shift: the operation against group norm, its Triton kernels against the reference."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from umlite.kernels.channel_scale_shift import channel_scale_shift, channel_scale_shift_ref

LAST = torch.channels_last_3d
F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16
ODD, GROUPED, PARTS = (2, 3, 1, 23, 89), (2, 20, 5, 7, 11), (1, 16, 3, 43, 17)
INPUTS = [((1, 1, 1, 1, 2), F32), (ODD, F32), (GROUPED, F32), (PARTS, F32), (ODD, F16), (PARTS, F16), (ODD, BF16)]


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("operation", [channel_scale_shift_ref, channel_scale_shift], ids=["reference", "fast"])
def test_scale_and_shift_are_group_norm(operation, groups: int) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 6, 3, 4, 5) + 2, torch.randn(6), torch.randn(6)
    scale, shift = operation(x, weight, bias, groups, 1e-5)
    found = x * scale[..., None, None, None] + shift[..., None, None, None]
    torch.testing.assert_close(found, F.group_norm(x, groups, weight, bias), atol=1e-5, rtol=1e-5)


def test_is_one_node_of_a_compiled_graph() -> None:
    torch.library.opcheck(channel_scale_shift, (torch.randn(2, 16, 3, 4, 5), None, None, 4, 1e-5))


@pytest.mark.parametrize(("shape", "dtype"), INPUTS, ids=str)
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
def test_kernels_interpreted(last: bool, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    pytest.importorskip("triton", reason="needs Triton, whose interpreter needs no GPU")
    from support.gpu.canaries import Guarded
    from support.gpu.interpreter import interpreted
    from umlite.kernels.triton.channel_scale_shift import launch_scale_shift

    torch.manual_seed(0)
    x = (torch.randn(shape) * 2 + 5).to(dtype)
    x = x.to(memory_format=LAST) if last else x
    channels = shape[1]
    weight, bias = (torch.randn(channels), torch.randn(channels)) if shape[0] == 2 else (None, None)
    groups = 4 if shape == GROUPED else channels
    scale, shift = Guarded(*shape[:2]), Guarded(*shape[:2])
    with interpreted():
        launch_scale_shift(x, weight, bias, groups, 1e-5, scale.tensor, shift.tensor)
    expected = channel_scale_shift_ref(x.double().float(), weight, bias, groups, 1e-5)
    torch.testing.assert_close((scale.check(), shift.check()), expected, atol=1e-5, rtol=1e-5)


def test_kernels_of_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """More parts than one turn of the merge takes, the last one short; a mean far from zero."""
    pytest.importorskip("triton", reason="needs Triton, whose interpreter needs no GPU")
    from support.gpu.canaries import Guarded
    from support.gpu.interpreter import interpreted
    from umlite.kernels.triton import channel_scale_shift as launcher
    from umlite.kernels.triton import tiles

    monkeypatch.setattr(tiles, "ELEMENTS", 32)
    monkeypatch.setattr(launcher, "MOST_STEPS", 2)
    torch.manual_seed(0)
    x = (torch.randn(1, 2, 5, 1, 831) + 1000).to(memory_format=LAST)
    scale, shift = Guarded(1, 2), Guarded(1, 2)
    with interpreted():
        launcher.launch_scale_shift(x, None, None, 1, 1e-5, scale.tensor, shift.tensor)
    exact = channel_scale_shift_ref(x, None, None, 1, 1e-5)
    torch.testing.assert_close((scale.check(), shift.check()), exact, atol=1e-3, rtol=1e-5)
