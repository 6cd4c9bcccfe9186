"""Fused heads on tensor cores, several classes a step: 16-bit operands, float32 sums.

A step's first layer is one product [voxels, 16] x [16, 8 * STEP]: eight inputs, a ninth that is 1 and carries the bias,
and zeros, since products take sixteen. The second layer's weights are block diagonal, [8 * STEP, 8 * STEP], the third's
[8 * STEP, STEP]: zeros cost less than what they would save.
"""

from __future__ import annotations

import triton
import triton.language as tl

from umlite.kernels.triton.placement import sum_offsets

WIDTH = 16  # columns of the head input in a product: eight inputs, a one, zeros


@triton.jit
def relu16(b_x, TYPE: tl.constexpr):
    """ReLU and rounding to 16 bits, in the order that costs least; the result is the same. NaN stays NaN."""
    if tl.float16 == TYPE:  # two numbers an instruction
        b_x = tl.maximum(b_x.to(TYPE), tl.zeros(b_x.shape, TYPE), propagate_nan=tl.PropagateNan.ALL)
    else:
        b_x = tl.maximum(b_x, 0.0, propagate_nan=tl.PropagateNan.ALL).to(TYPE)
    return b_x


@triton.jit
def head_inputs(
    p_feature,
    m_voxel,
    p_stem,
    channel_stride,
    K: tl.constexpr,
    ROW: tl.constexpr,
    WIDTH: tl.constexpr,
    FEATURES: tl.constexpr,
    TYPE: tl.constexpr,
):
    """[voxels, WIDTH] of TYPE: the K inputs, then a one, then zeros.

    The inputs are the feature normalised, ReLU, 1x1x1. p_feature: a block of voxels of the first channel.
    """
    o_input = tl.arange(0, WIDTH)
    p_feature = p_feature[:, None] + o_input[None, :] * channel_stride
    b_bias = tl.load(p_stem + o_input, mask=o_input < K, other=0.0)
    b_inputs = tl.zeros((m_voxel.shape[0], WIDTH), tl.float32) + tl.where(o_input == K, 1.0, b_bias)[None, :]
    p_stem += ROW + 4
    for _ in range(0, FEATURES, WIDTH):
        b_x = tl.load(p_feature, mask=m_voxel[:, None], other=0.0).to(tl.float32)
        b_scale = tl.load(p_stem + o_input * (ROW + 4) + ROW)
        b_shift = tl.load(p_stem + o_input * (ROW + 4) + ROW + 1)
        p_weight = p_stem + o_input[:, None] * (ROW + 4) + o_input[None, :]
        b_weight = tl.load(p_weight, mask=(o_input < K)[None, :], other=0.0).to(TYPE)
        b_x = relu16(tl.fma(b_x, b_scale[None, :], b_shift[None, :]), TYPE)
        b_inputs = tl.dot(b_x, b_weight, b_inputs)
        p_feature += WIDTH * channel_stride
        p_stem += WIDTH * (ROW + 4)
    return b_inputs.to(TYPE)


@triton.jit(do_not_specialize=["i_window", "classes"])
def fused_heads_dot(
    feature,  # [N, FEATURES, V] of 16 bits, any strides
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
    K: tl.constexpr,  # channels of the head input: 8
    ROW: tl.constexpr,  # K
    FEATURES: tl.constexpr,  # a multiple of WIDTH
    WIDTH: tl.constexpr,
    STEP: tl.constexpr,  # classes of a product
    OUT: tl.constexpr,  # columns of the last product: STEP and zeros
    BLOCK: tl.constexpr,
):
    """Programs: blocks of voxels of one window."""
    TYPE: tl.constexpr = feature.dtype.element_ty
    CLASS: tl.constexpr = (2 * K + 3) * ROW + 4
    o_voxel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m_voxel = o_voxel < voxels
    i_window = i_window.to(tl.int64)
    p_feature = feature + i_window * window_stride + o_voxel.to(tl.int64) * voxel_stride
    p_stem = stem + i_window * ((FEATURES + 1) * (ROW + 4))
    b_inputs = head_inputs(p_feature, m_voxel, p_stem, channel_stride, K, ROW, WIDTH, FEATURES, TYPE)

    o_input = tl.arange(0, WIDTH)
    o_hidden = tl.arange(0, K * STEP)  # hidden number o_hidden % K of the step's class o_hidden // K
    o_class = tl.arange(0, OUT)
    o_own = o_hidden // K * CLASS + o_hidden % K
    o_row = o_hidden // K * CLASS + o_hidden % K * ROW
    o_first = tl.where((o_input == K)[:, None], (o_own + (2 * K + 1) * ROW)[None, :], o_row[None, :] + o_input[:, None])
    o_second = o_row[None, :] + (K * ROW + o_hidden % K)[:, None]
    o_third = tl.broadcast_to((o_own + 2 * K * ROW)[:, None], (K * STEP, OUT))
    m_second = (o_hidden // K)[:, None] == (o_hidden // K)[None, :]
    m_third = (o_hidden // K)[:, None] == o_class[None, :]

    p_class = weights + i_window * classes * CLASS
    p_sums = sums + sum_offsets(o_voxel, starts + 3 * i_window, rows, columns, x_stride, y_stride)
    p_sums = p_sums[:, None] + o_class[None, :].to(tl.int64) * class_stride
    b_weight = tl.load(importance + o_voxel, mask=m_voxel, other=0.0)
    for first in range(0, classes, STEP):
        left = classes - first
        m_hidden = o_hidden // K < left
        m_class = (o_class < STEP) & (o_class < left)
        b_first = tl.load(p_class + o_first, mask=(o_input <= K)[:, None] & m_hidden[None, :], other=0.0).to(TYPE)
        b_hidden = relu16(tl.dot(b_inputs, b_first), TYPE)
        b_second = tl.load(p_class + o_second, mask=m_second & m_hidden[None, :], other=0.0).to(TYPE)
        b_bias = tl.load(p_class + o_own + (2 * K + 2) * ROW, mask=m_hidden, other=0.0)
        b_hidden = relu16(tl.dot(b_hidden, b_second) + b_bias[None, :], TYPE)
        b_third = tl.load(p_class + o_third, mask=m_third & m_hidden[:, None], other=0.0).to(TYPE)
        b_bias = tl.load(p_class + o_class * CLASS + (2 * K + 3) * ROW, mask=m_class, other=0.0)
        b_logit = tl.dot(b_hidden, b_third) + b_bias[None, :]
        m_sums = m_voxel[:, None] & m_class[None, :]
        b_sum = tl.load(p_sums, mask=m_sums, other=0.0)
        tl.store(p_sums, tl.fma(b_logit, b_weight[:, None], b_sum), mask=m_sums)
        p_class += STEP * CLASS
        p_sums += STEP * class_stride
