"""Shifted-window attention on a GPU: one launch from the unpadded grid to the unpadded grid.

A program takes a block of queries of one window and head through all keys of the window with an online softmax
(arXiv 2205.14135, section 3.1). Roll, padding, partition and their inverses are address arithmetic.

Keys past the window's last read a bias of minus infinity, which is stored before the table. The bias enters as the
start of the product of queries and keys: added afterwards it would cost an instruction more for each score, and the
softmax would leave the layout of the product (14 to 19 per cent fewer instructions, with the key mask in the table).
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from umlite.kernels.triton.launch import on_device_of

Size = tuple[int, int, int]

BLOCK_QUERY, WARPS = 64, 4  # 343 tokens waste 11 per cent
BLOCK_KEY = {2: 32, 4: 16}  # by bytes of a number: the most that spills on no GPU; 343 tokens waste 3 per cent
REGION = 24  # bits above the bias position in a token's word
LOG2E = tl.constexpr(1.4426950408889634)


def launch_window_attention(
    qkv: Tensor, padding: Tensor, table: Tensor, out: Tensor, heads: int, window: int, sides: Size, shifts: Size
) -> None:
    """Attended values into `out` [N, D, H, W, C], contiguous.

    qkv: [N, D, H, W, 3*C], padding: [3*C], of one dtype: float32, float16 or bfloat16. table: [(2*window-1)**3, heads].
    sides, shifts: of the windows that the grid is cut into, and how far it is rolled, along each axis.
    """
    if not out.numel():
        return
    n, *grid, channels = out.shape
    tokens = sides[0] * sides[1] * sides[2]
    counts = [-(-size // side) for size, side in zip(grid, sides, strict=True)]
    rows = (2 * window - 1) ** 3
    bias = F.pad(table.t().to(torch.float32), (rows, 0), value=float("-inf"))  # [heads, rows of -inf, rows]
    head = channels // heads
    blocks = triton.cdiv(tokens, BLOCK_QUERY)
    with on_device_of(qkv):
        window_attention_kernel[(n * counts[0] * counts[1] * counts[2] * heads * blocks,)](
            qkv.contiguous(),
            padding.contiguous(),
            bias,
            token_words(sides, window, shifts, qkv.device),
            out,
            *grid,
            *counts,
            *shifts,
            heads,
            channels,
            head**-0.5,
            SIDE_D=sides[0],
            SIDE_H=sides[1],
            SIDE_W=sides[2],
            ROWS=rows,
            SHIFTED=any(shifts),
            PADDED=any(size % side for size, side in zip(grid, sides, strict=True)),
            HEAD=head,
            BLOCK_HEAD=max(16, triton.next_power_of_2(head)),
            REGION=REGION,
            BLOCK_QUERY=BLOCK_QUERY,
            BLOCK_KEY=BLOCK_KEY[qkv.dtype.itemsize],
            num_warps=WARPS,
            num_stages=1,
            enable_fp_fusion=True,
        )


@functools.lru_cache(maxsize=64)
def token_words(sides: Size, window: int, shifts: Size, device: torch.device) -> Tensor:
    """[tokens] int32: what the kernel looks up of a token of a window, wherever the window lies.

    The low bits are the token's position in the bias table: the row of a pair is the difference of two positions plus
    a constant. A smaller window takes the first positions of the full window, as published. Bits REGION, REGION + 1 and
    REGION + 2 tell, along d, h and w, whether the roll brought the token here if this is the last window of that axis.
    """
    place = torch.arange(sides[0] * sides[1] * sides[2])
    full = torch.stack((place // window**2, place // window % window, place % window))
    here = torch.stack((place // (sides[1] * sides[2]), place // sides[2] % sides[1], place % sides[2]))
    side = 2 * window - 1
    words = (full[0] * side + full[1]) * side + full[2]
    for axis in range(3):
        words += (here[axis] >= sides[axis] - shifts[axis]).long() << (REGION + axis)
    return words.to(torch.int32).to(device)


@triton.jit
def source_of(
    o_token, first_d, first_h, first_w, padded_d, padded_h, padded_w, shift_d, shift_h, shift_w,
    depth, height, width, SIDE_H: tl.constexpr, SIDE_W: tl.constexpr,
):  # fmt: skip
    """Where in the grid a token of the window comes from, and whether that is inside, not padding."""
    o_d = first_d + o_token // (SIDE_H * SIDE_W) + shift_d
    o_h = first_h + o_token // SIDE_W % SIDE_H + shift_h
    o_w = first_w + o_token % SIDE_W + shift_w
    o_d = tl.where(o_d >= padded_d, o_d - padded_d, o_d)
    o_h = tl.where(o_h >= padded_h, o_h - padded_h, o_h)
    o_w = tl.where(o_w >= padded_w, o_w - padded_w, o_w)
    return (o_d * height + o_h) * width + o_w, (o_d < depth) & (o_h < height) & (o_w < width)


GEOMETRY = [
    *("depth", "height", "width", "windows_d", "windows_h", "windows_w"),
    *("shift_d", "shift_h", "shift_w", "heads"),
]


@triton.jit(do_not_specialize=GEOMETRY)
def window_attention_kernel(
    qkv,  # [N, D, H, W, 3*C]
    padding,  # [3*C]
    bias,  # [heads, 2*ROWS] float32: -inf, then the table
    words,  # [tokens] int32, `token_words`
    out,  # [N, D, H, W, C]
    depth,
    height,
    width,
    windows_d,
    windows_h,
    windows_w,
    shift_d,
    shift_h,
    shift_w,
    heads,
    channels,
    scale,
    SIDE_D: tl.constexpr,
    SIDE_H: tl.constexpr,
    SIDE_W: tl.constexpr,
    ROWS: tl.constexpr,
    SHIFTED: tl.constexpr,
    PADDED: tl.constexpr,
    HEAD: tl.constexpr,
    BLOCK_HEAD: tl.constexpr,
    REGION: tl.constexpr,
    BLOCK_QUERY: tl.constexpr,
    BLOCK_KEY: tl.constexpr,
):
    """Programs: blocks of queries, then heads, then windows, so that neighbours share keys, values and cache lines."""
    TOKENS: tl.constexpr = SIDE_D * SIDE_H * SIDE_W
    BLOCKS: tl.constexpr = (TOKENS + BLOCK_QUERY - 1) // BLOCK_QUERY
    POSITION: tl.constexpr = (1 << REGION) - 1
    i = tl.program_id(0)
    i_query = i % BLOCKS
    i = i // BLOCKS
    i_head = i % heads
    i = i // heads
    i_w = i % windows_w
    i = i // windows_w
    i_h = i % windows_h
    i = i // windows_h
    i_d = i % windows_d
    i_n = (i // windows_d).to(tl.int64)

    qkv += i_n * depth * height * width * (3 * channels) + i_head * HEAD
    out += i_n * depth * height * width * channels + i_head * HEAD
    padding += i_head * HEAD
    bias += i_head * (2 * ROWS) + ROWS + ROWS // 2
    if SHIFTED:  # the regions of a window that is the last along no axis are one
        cut_d = (i_d == windows_d - 1).to(tl.int32)
        cut_h = (i_h == windows_h - 1).to(tl.int32)
        cut_w = (i_w == windows_w - 1).to(tl.int32)
        cut = (cut_d + cut_h * 2 + cut_w * 4) << REGION

    o_head = tl.arange(0, BLOCK_HEAD)
    m_head = o_head < HEAD
    o_query = i_query * BLOCK_QUERY + tl.arange(0, BLOCK_QUERY)
    m_query = o_query < TOKENS
    o_place, m_inside = source_of(
        o_query, i_d * SIDE_D, i_h * SIDE_H, i_w * SIDE_W, windows_d * SIDE_D, windows_h * SIDE_H, windows_w * SIDE_W,
        shift_d, shift_h, shift_w, depth, height, width, SIDE_H, SIDE_W,
    )  # fmt: skip
    o_place = o_place.to(tl.int64)
    m_inside = (m_inside & m_query)[:, None] & m_head[None, :]
    b_query = tl.load(qkv + o_place[:, None] * (3 * channels) + o_head[None, :], mask=m_inside, other=0.0)
    if PADDED:
        pad_key = tl.load(padding + channels + o_head, mask=m_head, other=0.0)[None, :]
        pad_value = tl.load(padding + 2 * channels + o_head, mask=m_head, other=0.0)[None, :]
    b_query = (b_query.to(tl.float32) * scale).to(b_query.dtype)
    b_word = tl.load(words + o_query, mask=m_query, other=0)
    p_bias = bias + (b_word & POSITION)
    if SHIFTED:
        b_region = b_word & cut

    b_most = tl.full((BLOCK_QUERY,), -float("inf"), tl.float32)
    b_total = tl.zeros((BLOCK_QUERY,), tl.float32)
    b_sum = tl.zeros((BLOCK_QUERY, BLOCK_HEAD), tl.float32)
    for first in range(0, TOKENS, BLOCK_KEY):
        o_key = first + tl.arange(0, BLOCK_KEY)
        m_key = o_key < TOKENS
        o_from, m_from = source_of(
            o_key, i_d * SIDE_D, i_h * SIDE_H, i_w * SIDE_W, windows_d * SIDE_D, windows_h * SIDE_H, windows_w * SIDE_W,
            shift_d, shift_h, shift_w, depth, height, width, SIDE_H, SIDE_W,
        )  # fmt: skip
        m_from = (m_from & m_key)[:, None] & m_head[None, :]
        p_key = qkv + channels + o_from.to(tl.int64)[:, None] * (3 * channels) + o_head[None, :]
        b_key = tl.load(p_key, mask=m_from, other=0.0)
        b_value = tl.load(p_key + channels, mask=m_from, other=0.0)
        if PADDED:
            b_key = tl.where(m_from, b_key, pad_key)
            b_value = tl.where(m_from, b_value, pad_value)
        b_other = tl.load(words + o_key, mask=m_key, other=ROWS)  # ROWS back from any query's place is -inf
        b_bias = tl.load(p_bias[:, None] - (b_other & POSITION)[None, :])
        b_score = tl.dot(b_query, tl.trans(b_key), b_bias, input_precision="ieee")
        if SHIFTED:
            b_score = tl.where(b_region[:, None] == (b_other & cut)[None, :], b_score, b_score - 100.0)
        b_larger = tl.maximum(b_most, tl.max(b_score, 1))
        b_weight = tl.exp2(b_score * LOG2E - (b_larger * LOG2E)[:, None])
        b_fade = tl.exp2((b_most - b_larger) * LOG2E)
        b_total = b_total * b_fade + tl.sum(b_weight, 1)
        b_sum = tl.dot(b_weight.to(b_value.dtype), b_value, b_sum * b_fade[:, None], input_precision="ieee")
        b_most = b_larger
    b_sum = b_sum / b_total[:, None]
    tl.store(out + o_place[:, None] * channels + o_head[None, :], b_sum.to(out.dtype.element_ty), mask=m_inside)
