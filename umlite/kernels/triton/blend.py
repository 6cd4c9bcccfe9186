"""Blending on a GPU: logits and sums are read once, sums written once, so memory alone sets its speed."""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from umlite.kernels.triton.launch import on_device_of
from umlite.kernels.triton.placement import out_offsets, voxels_of_block

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
        for n in range(windows):
            blend_kernel[(triton.cdiv(voxels, BLOCK), 1)](
                logits,
                importance,
                starts,
                sums,
                n,
                classes,
                voxels,
                rows,
                columns,
                *sums.stride()[:3],
                BLOCK=BLOCK,
                num_warps=WARPS,
                enable_fp_fusion=True,
            )


@triton.jit(do_not_specialize=["first", "classes"])
def blend_kernel(
    logits,
    importance,
    starts,
    sums,
    first,
    classes,
    voxels,
    rows,
    columns,
    class_stride,
    x_stride,
    y_stride,
    BLOCK: tl.constexpr,
):
    """Programs: (blocks of voxels, windows from the `first` on)."""
    window, i, mask = voxels_of_block(first, voxels, BLOCK)
    p_logits = logits + window * classes * voxels + i
    p_sums = sums + out_offsets(i, window, starts, rows, columns, 0, x_stride, y_stride, True)
    b_weight = tl.load(importance + i, mask=mask, other=0.0)
    for _ in range(classes):
        b_logit = tl.load(p_logits, mask=mask, other=0.0).to(tl.float32)
        b_sum = tl.load(p_sums, mask=mask, other=0.0)
        tl.store(p_sums, tl.fma(b_logit, b_weight, b_sum), mask=mask)
        p_logits += voxels
        p_sums += class_stride
