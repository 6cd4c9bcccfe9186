"""The attention kernel in Triton's interpreter: against float64, every dtype, ragged grids, shifts, guarded outputs."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="needs Triton, whose interpreter runs the kernel")

from support.gpu.canaries import Guarded
from support.gpu.interpreter import interpreted
from umlite.kernels.triton.window_attention import launch_window_attention
from umlite.kernels.window_attention import Size, window_attention, window_attention_ref


def attend(qkv: torch.Tensor, padding: torch.Tensor, table: torch.Tensor, heads: int, window: int, shift: int):
    """The kernel's answer, once it is known to have written its output and nothing else."""
    grid = qkv.shape[1:4]
    sides = tuple(min(size, window) for size in grid)
    shifts = tuple(0 if size <= window else shift for size in grid)
    out = Guarded(*qkv.shape[:4], qkv.shape[4] // 3, dtype=qkv.dtype)
    with interpreted():
        launch_window_attention(qkv, padding, table, out.tensor, heads, window, sides, shifts)
    return out.check()


def check(dtype: torch.dtype, n: int, grid: Size, heads: int, head: int, window: int, shift: int) -> None:
    torch.manual_seed(0)
    width = 3 * heads * head
    qkv = torch.randn(n, *grid, width).to(dtype)
    padding, table = torch.randn(width).to(dtype), torch.randn((2 * window - 1) ** 3, heads).to(dtype)
    exact = window_attention_ref(qkv.double(), padding.double(), table.double(), heads, window, shift)
    plain = window_attention_ref(qkv, padding, table, heads, window, shift)
    found = attend(qkv, padding, table, heads, window, shift)
    assert (found - exact).abs().max() <= 2 * (plain - exact).abs().max()


def test_published_window() -> None:
    check(torch.float16, 1, (7, 8, 7), 1, 16, 7, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_several_blocks_of_queries_and_keys(dtype: torch.dtype) -> None:
    check(dtype, 1, (5, 6, 5), 1, 16, 5, 2)


@pytest.mark.parametrize("grid", [(4, 4, 4), (5, 3, 7), (2, 6, 1)])
@pytest.mark.parametrize("shift", [0, 1, 2])
def test_small_windows_and_ragged_grids(grid: Size, shift: int) -> None:
    check(torch.float32, 1, grid, 2, 16, 4, shift)


def test_one_window_smaller_than_the_table() -> None:
    check(torch.float16, 1, (6, 6, 6), 1, 16, 7, 3)


@pytest.mark.parametrize("head", [3, 8, 24])
def test_other_head_sizes_and_several_scans(head: int) -> None:
    check(torch.float32, 2, (3, 5, 3), 3, head, 3, 1)


def test_non_contiguous_input() -> None:
    torch.manual_seed(0)
    qkv = torch.randn(1, 48, 5, 4, 3).permute(0, 4, 2, 3, 1)
    padding, table = torch.randn(96)[::2], torch.randn(1, 125).mT
    expected = window_attention_ref(qkv, padding, table, 1, 3, 1)
    torch.testing.assert_close(attend(qkv, padding, table, 1, 3, 1), expected, atol=1e-5, rtol=1e-5)


def test_nan_reaches_only_its_window() -> None:
    torch.manual_seed(0)
    qkv, padding, table = torch.randn(1, 6, 3, 3, 48), torch.randn(48), torch.randn(125, 1)
    qkv[0, 4, 1, 1, 20] = float("nan")
    found = attend(qkv, padding, table, 1, 3, 0)
    assert found[:, 3:].isnan().all()
    assert found[:, :3].isfinite().all()


@pytest.mark.parametrize("shift", [0, 1])
def test_is_one_node_of_a_compiled_graph(shift: int) -> None:
    arguments = (torch.randn(1, 4, 5, 3, 24), torch.randn(24), torch.randn(125, 2), 2, 3, shift)
    torch.library.opcheck(window_attention, arguments)
    compiled = torch.compile(window_attention, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*arguments), window_attention_ref(*arguments), atol=1e-5, rtol=1e-5)
