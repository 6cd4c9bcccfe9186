"""Norm and activation: the operation against torch's layers, its Triton kernels, interpreted, against the reference."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from umlite.kernels.channel_scale_shift import channel_scale_shift_ref
from umlite.kernels.norm_act import norm_act, norm_act_ref

LAST = torch.channels_last_3d


@pytest.mark.parametrize("slope", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("extras", [False, True])
@pytest.mark.parametrize("operation", [norm_act_ref, norm_act], ids=["reference", "fast"])
def test_same_as_torch_layers(operation, extras: bool, last: bool, slope: float) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 3, 7, 4) * 2 + 3
    x = x.to(memory_format=LAST) if last else x
    weight, bias, residual = (torch.randn(5), torch.randn(5), torch.randn_like(x)) if extras else (None, None, None)
    expected = F.instance_norm(x, weight=weight, bias=bias, eps=1e-5)
    expected = F.leaky_relu(expected + residual if extras else expected, slope)
    found = operation(x, weight, bias, residual, slope, 1e-5)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_is_one_node_of_a_compiled_graph() -> None:
    x = torch.randn(2, 5, 3, 7, 4)
    torch.library.opcheck(norm_act, (x, torch.randn(5), torch.randn(5), x, 0.01, 1e-5))
    torch.library.opcheck(norm_act, (x.to(memory_format=LAST), None, None, None, 0.0, 1e-5))
    compiled = torch.compile(lambda x: norm_act(x, None, None, None, 0.0, 1e-5), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), norm_act(x, None, None, None, 0.0, 1e-5))


F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16
ODD, PARTS = (2, 3, 1, 23, 89), (1, 16, 3, 43, 17)
INPUTS = [((1, 1, 1, 1, 2), F32), (ODD, F32), (PARTS, F32), (ODD, F16), (PARTS, F16), (ODD, BF16)]


@pytest.mark.parametrize(("shape", "dtype"), INPUTS, ids=str)
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
def test_kernel_interpreted(last: bool, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    pytest.importorskip("triton", reason="needs Triton, whose interpreter needs no GPU")
    from support.gpu.canaries import Guarded
    from support.gpu.interpreter import interpreted
    from umlite.kernels.triton.norm_act import launch_norm_act

    torch.manual_seed(0)
    layout = LAST if last else torch.contiguous_format
    x = (torch.randn(shape) * 2 + 5).to(dtype).to(memory_format=layout)
    affine, residual = [None, None], None
    if shape[0] == 2:
        affine = [torch.randn(shape[1]), torch.randn(shape[1])]
        residual = torch.randn(shape).to(dtype).to(memory_format=layout)
    scale, shift = channel_scale_shift_ref(x, *affine, shape[1], 1e-5)
    out = Guarded(*shape, dtype=dtype, strides=x.stride())
    with interpreted():
        launch_norm_act(x, scale, shift, residual, 0.01, out.tensor)
    wide = [None if t is None else t.double() for t in (*affine, residual)]
    exact = norm_act_ref(x.double(), *wide, 0.01, 1e-5)
    plain = norm_act(x, *affine, residual, 0.01, 1e-5)
    allowed = max(2 * (plain - exact).abs().max().item(), 1e-6 * exact.abs().max().item())
    assert (out.check() - exact).abs().max().item() <= allowed
