"""Blending: the kernel, interpreted, adds exactly where windows lie, in their order, and nowhere else."""

from __future__ import annotations

import pytest
import torch

from umlite.kernels.blend import blend, blend_ref

SHAPES = [(1, 1, 1), (3, 5, 7), (4, 8, 16), (7, 11, 13)]


def arguments(dtype: torch.dtype, window: tuple[int, int, int], classes: int):
    """Logits of five windows at every alignment, overlapping; importance; sums; starts."""
    torch.manual_seed(0)
    shape = tuple(side + 5 for side in window)
    starts = torch.tensor([[0, 0, 0], [5, 5, 5], [1, 2, 3], [1, 2, 4], [4, 3, 1]])
    logits = torch.randn(len(starts), classes, *window).to(dtype)
    return logits, torch.rand(window), torch.randn(classes, *shape), starts


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("window", SHAPES, ids=str)
@pytest.mark.parametrize("classes", [1, 3])
def test_kernel_interpreted(classes: int, window: tuple[int, int, int], dtype: torch.dtype) -> None:
    pytest.importorskip("triton", reason="needs Triton, whose interpreter needs no GPU")
    from support.gpu.canaries import Guarded
    from support.gpu.interpreter import interpreted
    from umlite.kernels.triton.blend import launch_blend

    logits, importance, before, starts = arguments(dtype, window, classes)
    x, y, z = before.shape[1:]
    sums = Guarded(*before.shape, values=before, strides=(x * y * (z + 3), y * (z + 3), z + 3, 1), offset=1)
    with interpreted():
        launch_blend(logits.transpose(1, 2).contiguous().transpose(1, 2), importance, sums.tensor, starts)
    expected = before.clone()
    blend_ref(logits, importance, expected, starts)
    torch.testing.assert_close(sums.check(), expected, atol=1e-6, rtol=1e-6)
    untouched = torch.ones_like(before, dtype=torch.bool)
    for x, y, z in starts.tolist():
        untouched[:, x : x + window[0], y : y + window[1], z : z + window[2]] = False
    assert torch.equal(sums.tensor[untouched], before[untouched])


def test_windows_at_every_alignment() -> None:
    pytest.importorskip("triton", reason="needs Triton, whose interpreter needs no GPU")
    from support.gpu.canaries import Guarded
    from support.gpu.interpreter import interpreted
    from umlite.kernels.triton.blend import launch_blend

    logits, importance, _, _ = arguments(torch.float16, (2, 3, 5), 1)
    starts = torch.tensor([[1, 2, z] for z in range(16)])
    logits = logits[:1].expand(16, -1, -1, -1, -1) * torch.arange(1.0, 17.0)[:, None, None, None, None]
    sums = Guarded(1, 4, 6, 21, values=torch.zeros(1, 4, 6, 21))
    with interpreted():
        launch_blend(logits, importance, sums.tensor, starts)
    expected = torch.zeros(1, 4, 6, 21)
    blend_ref(logits, importance, expected, starts)
    torch.testing.assert_close(sums.check(), expected, atol=1e-6, rtol=1e-6)


def test_is_one_node_of_a_compiled_graph() -> None:
    logits, importance, sums, starts = arguments(torch.float16, (3, 5, 7), 2)
    torch.library.opcheck(blend, (logits, importance, sums, starts))
    expected = sums.clone()
    blend_ref(logits, importance, expected, starts)
    torch.compile(blend, fullgraph=True, backend="aot_eager")(logits, importance, sums, starts)
    assert torch.equal(sums, expected)
