"""Class-specific heads on tensor cores, several classes a step: 16-bit operands, float32 sums.

A step's first layer is one product [voxels, 16] x [16, 8 * STEP]: eight inputs, a ninth that is 1 and carries the bias,
and zeros, since products take sixteen. The second layer's weights are block diagonal, [8 * STEP, 8 * STEP], the third's
[8 * STEP, STEP]: zeros cost less than what they would save.
"""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

import triton
import triton.language as tl

from umlite.kernels.triton.placement import out_offsets, voxels_of_block

WIDTH = 16  # columns of the head input in a product: eight inputs, a one, zeros


@triton.jit
def relu16(x, TYPE: tl.constexpr):
    """ReLU and rounding to 16 bits, in the order that costs least; the result is the same. NaN stays NaN."""
    if tl.float16 == TYPE:  # two numbers an instruction
        x = tl.maximum(x.to(TYPE), tl.zeros(x.shape, TYPE), propagate_nan=tl.PropagateNan.ALL)
    else:
        x = tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL).to(TYPE)
    return x


@triton.jit
def head_inputs(
    source,
    stem,
    window,
    i,
    mask,
    channel_stride,
    voxel_stride,
    K: tl.constexpr,
    ROW: tl.constexpr,
    WIDTH: tl.constexpr,
    FEATURES: tl.constexpr,
    TYPE: tl.constexpr,
):
    """[voxels, WIDTH] of TYPE: the K inputs, read or made of the backbone's feature, then a one, then zeros."""
    k = tl.arange(0, WIDTH)
    source += i[:, None].to(tl.int64) * voxel_stride
    if FEATURES == 0:
        h = tl.load(source + k[None, :] * channel_stride, mask=mask[:, None] & (k < K)[None, :], other=0.0)
        h = tl.where((k == K)[None, :], tl.full((1, 1), 1.0, TYPE), h)
    else:
        stem += window * ((FEATURES + 1) * (ROW + 4))
        bias = tl.load(stem + k, mask=k < K, other=0.0)
        h = tl.zeros((i.shape[0], WIDTH), tl.float32) + tl.where(k == K, 1.0, bias)[None, :]
        stem += ROW + 4
        for _ in range(0, FEATURES, WIDTH):
            y = tl.load(source + k[None, :] * channel_stride, mask=mask[:, None], other=0.0).to(tl.float32)
            scale = tl.load(stem + k * (ROW + 4) + ROW)
            shift = tl.load(stem + k * (ROW + 4) + ROW + 1)
            w = tl.load(stem + k[:, None] * (ROW + 4) + k[None, :], mask=(k < K)[None, :], other=0.0).to(TYPE)
            y = relu16(tl.fma(y, scale[None, :], shift[None, :]), TYPE)
            h = tl.dot(y, w, h)
            source += WIDTH * channel_stride
            stem += WIDTH * (ROW + 4)
    return h.to(TYPE)


@triton.jit(do_not_specialize=["classes", "first"])
def heads_dot(
    source,
    stem,
    weights,
    importance,
    starts,
    out,
    first,
    classes,
    voxels,
    rows,
    columns,
    window_stride,
    channel_stride,
    voxel_stride,
    out_window_stride,
    out_class_stride,
    out_x_stride,
    out_y_stride,
    K: tl.constexpr,
    ROW: tl.constexpr,
    WIDTH: tl.constexpr,
    FEATURES: tl.constexpr,
    ACCUMULATE: tl.constexpr,
    STEP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Programs and arguments as those of `heads_fma`; K is 8, FEATURES a multiple of WIDTH."""
    TYPE: tl.constexpr = source.dtype.element_ty
    N: tl.constexpr = K * STEP
    CLASS: tl.constexpr = (2 * K + 3) * ROW + 4
    OUT: tl.constexpr = STEP if STEP > 8 else 8
    window, i, mask = voxels_of_block(first, voxels, BLOCK)
    source += window * window_stride
    x = head_inputs(source, stem, window, i, mask, channel_stride, voxel_stride, K, ROW, WIDTH, FEATURES, TYPE)

    weights += window * (classes * CLASS)
    k = tl.arange(0, WIDTH)
    n = tl.arange(0, N)
    q = tl.arange(0, OUT)
    here = (n // K) * CLASS + n % K  # column n is output n % K of class n // K
    first = (n // K) * CLASS + (n % K) * ROW
    o_first = tl.where((k == K)[:, None], (here + (2 * K + 1) * ROW)[None, :], first[None, :] + k[:, None])
    o_second = first[None, :] + (K * ROW + n % K)[:, None]
    o_third = (here + 2 * K * ROW)[:, None]
    m_second = (n // K)[:, None] == (n // K)[None, :]
    m_third = (n // K)[:, None] == q[None, :]

    out += out_offsets(i, window, starts, rows, columns, out_window_stride, out_x_stride, out_y_stride, ACCUMULATE)
    if ACCUMULATE:
        weight = tl.load(importance + i, mask=mask, other=0.0)
    place = out[:, None] + q[None, :].to(tl.int64) * out_class_stride
    for c in range(0, classes, STEP):
        left = classes - c
        there = (n // K) < left
        w1 = tl.load(weights + o_first, mask=(k <= K)[:, None] & there[None, :], other=0.0).to(TYPE)
        h = relu16(tl.dot(x, w1), TYPE)
        w2 = tl.load(weights + o_second, mask=m_second & there[None, :], other=0.0).to(TYPE)
        b2 = tl.load(weights + here + (2 * K + 2) * ROW, mask=there, other=0.0)
        h = relu16(tl.dot(h, w2) + b2[None, :], TYPE)
        w3 = tl.load(weights + o_third, mask=m_third & there[:, None], other=0.0).to(TYPE)
        b3 = tl.load(weights + q * CLASS + (2 * K + 3) * ROW, mask=(q < STEP) & (q < left), other=0.0)
        y = tl.dot(h, w3) + b3[None, :]
        m_out = mask[:, None] & ((q < STEP) & (q < left))[None, :]
        if ACCUMULATE:
            y = tl.fma(y, weight[:, None], tl.load(place, mask=m_out, other=0.0))
        tl.store(place, y.to(out.dtype.element_ty), mask=m_out)
        weights += STEP * CLASS
        place += STEP * out_class_stride
