"""Fused heads by multiply-adds: exact float32 inside, weights fetched four at a time.

Every thread holds the K inputs of its voxels in registers, loops over the classes and fetches each class's weights,
the same for all threads, by 128-bit loads.
"""

# ruff: noqa: RUF005 - Triton grows tuples by addition only

from __future__ import annotations

import triton
import triton.language as tl

from umlite.kernels.triton.placement import sum_offsets


@triton.jit
def load4(p_row):
    """Four neighbouring float32 by one 128-bit load; every thread gets all four, as scalars."""
    b_row = tl.load(p_row + tl.arange(0, 4))
    b_even, b_odd = tl.split(tl.reshape(b_row, (2, 2)))
    b_0, b_2 = tl.split(b_even)
    b_1, b_3 = tl.split(b_odd)
    return b_0, b_1, b_2, b_3


@triton.jit
def load_row(p_row, LENGTH: tl.constexpr):
    """A row of LENGTH (a multiple of 4) float32 as scalars."""
    b_row = load4(p_row)
    for start in tl.static_range(4, LENGTH, 4):
        b_row = b_row + load4(p_row + start)
    return b_row


@triton.jit
def relu(b_x):
    """ReLU that lets NaN through, as torch's does."""
    return tl.maximum(b_x, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def class_logit(b_inputs, p_class, K: tl.constexpr, ROW: tl.constexpr):
    """Logits of one class. b_inputs: K float32 blocks. p_class: its numbers, as `pack_parameters` lays them out."""
    b_bias = load_row(p_class + (2 * K + 1) * ROW, ROW)
    b_hidden = ()
    for o in tl.static_range(K):
        b_row = load_row(p_class + o * ROW, ROW)
        b_y = tl.fma(b_inputs[0], b_row[0], b_bias[o])
        for i in tl.static_range(1, K):
            b_y = tl.fma(b_inputs[i], b_row[i], b_y)
        b_hidden = b_hidden + (relu(b_y),)
    b_last = load_row(p_class + 2 * K * ROW, ROW)
    b_bias = load_row(p_class + (2 * K + 2) * ROW, ROW)
    b_logit = tl.load(p_class + (2 * K + 3) * ROW)
    for o in tl.static_range(K):
        b_row = load_row(p_class + (K + o) * ROW, ROW)
        b_y = tl.fma(b_hidden[0], b_row[0], b_bias[o])
        for i in tl.static_range(1, K):
            b_y = tl.fma(b_hidden[i], b_row[i], b_y)
        b_logit = tl.fma(relu(b_y), b_last[o], b_logit)
    return b_logit


@triton.jit
def head_inputs(p_feature, m_voxel, p_stem, channel_stride, K: tl.constexpr, ROW: tl.constexpr, FEATURES: tl.constexpr):
    """K float32 blocks: the feature normalised, ReLU, 1x1x1. p_feature: a block of voxels of the first channel."""
    b_bias = load_row(p_stem, ROW)
    b_inputs = ()
    for k in tl.static_range(K):
        b_inputs = b_inputs + (tl.zeros(m_voxel.shape, tl.float32) + b_bias[k],)
    for _ in range(FEATURES):
        p_stem += ROW + 4
        b_row = load_row(p_stem, ROW + 4)
        b_x = tl.load(p_feature, mask=m_voxel, other=0.0).to(tl.float32)
        b_x = relu(tl.fma(b_x, b_row[ROW], b_row[ROW + 1]))
        b_sums = ()
        for k in tl.static_range(K):
            b_sums = b_sums + (tl.fma(b_x, b_row[k], b_inputs[k]),)
        b_inputs = b_sums
        p_feature += channel_stride
    return b_inputs


@triton.jit(do_not_specialize=["i_window", "classes"])
def fused_heads_fma(
    feature,  # [N, FEATURES, V], any strides
    stem,  # [N, FEATURES + 1, ROW + 4] float32, `pack_stem`
    weights,  # [N, classes, (2K + 3) * ROW + 4] float32, `pack_parameters`
    importance,  # [V] float32
    starts,  # [N, 3] int64
    sums,  # [classes, X, Y, Z] float32, contiguous along Z
    i_window,
    classes,
    voxels,  # V
    rows,
    columns,
    window_stride,
    channel_stride,
    voxel_stride,
    class_stride,
    x_stride,
    y_stride,
    K: tl.constexpr,  # channels of the head input
    ROW: tl.constexpr,  # K, up to a multiple of 4
    FEATURES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Programs: blocks of voxels of one window."""
    CLASS: tl.constexpr = (2 * K + 3) * ROW + 4
    o_voxel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m_voxel = o_voxel < voxels
    i_window = i_window.to(tl.int64)
    p_feature = feature + i_window * window_stride + o_voxel.to(tl.int64) * voxel_stride
    p_stem = stem + i_window * ((FEATURES + 1) * (ROW + 4))
    b_inputs = head_inputs(p_feature, m_voxel, p_stem, channel_stride, K, ROW, FEATURES)
    p_class = weights + i_window * classes * CLASS
    p_sums = sums + sum_offsets(o_voxel, starts + 3 * i_window, rows, columns, x_stride, y_stride)
    b_weight = tl.load(importance + o_voxel, mask=m_voxel, other=0.0)
    for _ in range(classes):
        b_logit = class_logit(b_inputs, p_class, K, ROW)
        b_sum = tl.load(p_sums, mask=m_voxel, other=0.0)
        tl.store(p_sums, tl.fma(b_logit, b_weight, b_sum), mask=m_voxel)
        p_class += CLASS
        p_sums += class_stride
