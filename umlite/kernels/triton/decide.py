"""The decision on a GPU: every sum is read once, every voxel's integer written once."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from umlite.kernels.triton.launch import on_device_of

BLOCK, WARPS = 512, 4


def launch_decide(sums: Tensor, bits: Tensor, broken: Tensor) -> None:
    """Fill `bits` [X, Y, Z], contiguous, and add to `broken`, zero before, the classes that are not finite.

    sums: [C, X, Y, Z] float32, any strides. bits and broken: int32 for up to 32 classes, else int64.
    """
    if not bits.numel():
        return
    classes, _, rows, columns = sums.shape
    with on_device_of(sums):
        decide_kernel[(triton.cdiv(bits.numel(), BLOCK),)](
            sums,
            bits,
            broken,
            classes,
            bits.numel(),
            rows,
            columns,
            *sums.stride(),
            BLOCK=BLOCK,
            num_warps=WARPS,
            enable_fp_fusion=True,
        )


@triton.jit
def either(a, b):
    return a | b


@triton.jit(do_not_specialize=["classes"])
def decide_kernel(
    sums,  # [classes, X, Y, Z] float32, any strides
    bits,  # [X, Y, Z] int32 or int64, contiguous
    broken,  # one of the same type
    classes,
    voxels,  # X * Y * Z
    rows,  # Y
    columns,  # Z
    stride_class,
    stride_x,
    stride_y,
    stride_z,
    BLOCK: tl.constexpr,
):
    """Programs: blocks of voxels."""
    o_voxel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    m_voxel = o_voxel < voxels
    o_x = o_voxel // columns // rows
    o_y = o_voxel // columns % rows
    p_sums = sums + o_x * stride_x + o_y * stride_y + o_voxel % columns * stride_z
    b_bits = tl.zeros((BLOCK,), bits.dtype.element_ty)
    b_broken = tl.zeros((BLOCK,), bits.dtype.element_ty)
    b_bit = tl.full((), 1, bits.dtype.element_ty)
    for _ in range(classes):
        b_sum = tl.load(p_sums, mask=m_voxel, other=0.0)
        b_bits |= tl.where(b_sum > 0, b_bit, 0)
        b_broken |= tl.where(tl.abs(b_sum) < float("inf"), 0, b_bit)  # false for NaN too
        b_bit = b_bit + b_bit
        p_sums += stride_class
    tl.store(bits + o_voxel, b_bits, mask=m_voxel)
    b_all = tl.reduce(b_broken, 0, either)
    tl.atomic_or(broken, b_all, mask=b_all != 0)
