"""Blending on a GPU: logits and sums are read once, sums written once, so memory alone sets its speed."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from umlite.kernels.triton.launch import on_device_of
from umlite.kernels.triton.placement import sum_offsets

BLOCK, WARPS = 512, 4


def launch_blend(logits: Tensor, importance: Tensor, sums: Tensor, starts: Tensor) -> None:
    """Logits [N, classes, D, H, W] times importance [D, H, W] added to float32 `sums` [classes, X, Y, Z].

    sums: contiguous along Z. starts: [N, 3] int64. One launch a window, in the order given: windows may overlap, and
    the sums are the same every time.
    """
    if not logits.numel():
        return
    windows, classes, depth, rows, columns = logits.shape
    voxels = depth * rows * columns
    logits = logits.contiguous()
    importance = importance.to(torch.float32).contiguous()
    starts = starts.to(sums.device, torch.int64).contiguous()
    with on_device_of(sums):
        for i_window in range(windows):
            blend_kernel[(triton.cdiv(voxels, BLOCK),)](
                logits,
                importance,
                starts,
                sums,
                i_window,
                classes,
                voxels,
                rows,
                columns,
                *sums.stride()[:3],
                BLOCK=BLOCK,
                num_warps=WARPS,
                enable_fp_fusion=True,
            )


@triton.jit(do_not_specialize=["i_window", "classes"])
def blend_kernel(
    logits,  # [N, classes, V], contiguous
    importance,  # [V] float32
    starts,  # [N, 3] int64
    sums,  # [classes, X, Y, Z] float32, contiguous along Z
    i_window,
    classes,
    voxels,  # V
    rows,
    columns,
    class_stride,
    x_stride,
    y_stride,
    BLOCK: tl.constexpr,
):
    """Programs: blocks of voxels of one window."""
    o_voxel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m_voxel = o_voxel < voxels
    i_window = i_window.to(tl.int64)
    p_logits = logits + i_window * classes * voxels + o_voxel
    p_sums = sums + sum_offsets(o_voxel, starts + 3 * i_window, rows, columns, x_stride, y_stride)
    b_weight = tl.load(importance + o_voxel, mask=m_voxel, other=0.0)
    for _ in range(classes):
        b_logit = tl.load(p_logits, mask=m_voxel, other=0.0).to(tl.float32)
        b_sum = tl.load(p_sums, mask=m_voxel, other=0.0)
        tl.store(p_sums, tl.fma(b_logit, b_weight, b_sum), mask=m_voxel)
        p_logits += voxels
        p_sums += class_stride
