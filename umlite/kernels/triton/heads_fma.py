"""Class-specific heads by fused multiply-adds: exact float32 inside, weights fetched four at a time.

Every thread holds the K inputs of its voxels in registers, loops over the classes and fetches each class's weights,
the same for all threads, by 128-bit loads.
"""

# ruff: noqa: RUF005 - Triton grows tuples by addition only
# mypy: ignore-errors

from __future__ import annotations

import triton
import triton.language as tl

from umlite.kernels.triton.placement import out_offsets, voxels_of_block


@triton.jit
def load4(p):
    """Four neighbouring float32 by one 128-bit load; every thread gets all four, as scalars."""
    v = tl.load(p + tl.arange(0, 4))
    even, odd = tl.split(tl.reshape(v, (2, 2)))
    v0, v2 = tl.split(even)
    v1, v3 = tl.split(odd)
    return v0, v1, v2, v3


@triton.jit
def load_row(p, LENGTH: tl.constexpr):
    """A row of LENGTH (a multiple of 4) float32 as scalars."""
    row = load4(p)
    for i in tl.static_range(4, LENGTH, 4):
        row = row + load4(p + i)
    return row


@triton.jit
def relu(x):
    """ReLU that lets NaN through, as torch's does."""
    return tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def class_logit(x, p, K: tl.constexpr, ROW: tl.constexpr):
    """Logits of one class. x: K float32 blocks. p: its numbers, as `pack_parameters` lays them out."""
    b1 = load_row(p + (2 * K + 1) * ROW, ROW)
    hidden = ()
    for o in tl.static_range(K):
        w = load_row(p + o * ROW, ROW)
        a = tl.fma(x[0], w[0], b1[o])
        for i in tl.static_range(1, K):
            a = tl.fma(x[i], w[i], a)
        hidden = hidden + (relu(a),)
    w3 = load_row(p + 2 * K * ROW, ROW)
    b2 = load_row(p + (2 * K + 2) * ROW, ROW)
    y = tl.load(p + (2 * K + 3) * ROW)
    for o in tl.static_range(K):
        w = load_row(p + (K + o) * ROW, ROW)
        a = tl.fma(hidden[0], w[0], b2[o])
        for i in tl.static_range(1, K):
            a = tl.fma(hidden[i], w[i], a)
        y = tl.fma(relu(a), w3[o], y)
    return y


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
    FEATURES: tl.constexpr,
):
    """The K inputs of the heads: read or, if FEATURES, made of the backbone's feature (normalised, ReLU, 1x1x1)."""
    source += i.to(tl.int64) * voxel_stride
    x = ()
    if FEATURES == 0:
        for _ in tl.static_range(K):
            x = x + (tl.load(source, mask=mask, other=0.0).to(tl.float32),)
            source += channel_stride
    else:
        stem += window * ((FEATURES + 1) * (ROW + 4))
        bias = load_row(stem, ROW)
        for k in tl.static_range(K):
            x = x + (tl.zeros(i.shape, tl.float32) + bias[k],)
        for _ in range(FEATURES):
            stem += ROW + 4
            w = load_row(stem, ROW + 4)
            y = tl.load(source, mask=mask, other=0.0).to(tl.float32)
            y = relu(tl.fma(y, w[ROW], w[ROW + 1]))
            z = ()
            for k in tl.static_range(K):
                z = z + (tl.fma(y, w[k], x[k]),)
            x = z
            source += channel_stride
    return x


@triton.jit(do_not_specialize=["classes", "first"])
def heads_fma(
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
    FEATURES: tl.constexpr,
    ACCUMULATE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Programs: (blocks of voxels, windows from the `first` on). Other arguments as `launch` gives them."""
    window, i, mask = voxels_of_block(first, voxels, BLOCK)
    source += window * window_stride
    x = head_inputs(source, stem, window, i, mask, channel_stride, voxel_stride, K, ROW, FEATURES)
    weights += window * (classes * ((2 * K + 3) * ROW + 4))
    out += out_offsets(i, window, starts, rows, columns, out_window_stride, out_x_stride, out_y_stride, ACCUMULATE)
    if ACCUMULATE:
        weight = tl.load(importance + i, mask=mask, other=0.0)
    for _ in range(classes):
        y = class_logit(x, weights, K, ROW)
        if ACCUMULATE:
            y = tl.fma(y, weight, tl.load(out, mask=mask, other=0.0))
        tl.store(out, y.to(out.dtype.element_ty), mask=mask)
        weights += (2 * K + 3) * ROW + 4
        out += out_class_stride
