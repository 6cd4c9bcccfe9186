"""Class-specific heads: three tiny layers per class, their weights made per window (arXiv 2405.18356, section 3).

For 8 channels the 153 numbers of a class are, in this order: w1 (8x8, row = output channel), w2 (8x8), w3 (1x8),
b1 (8), b2 (8), b3 (1). Heads of one layer have K weights and a bias instead; the count of their numbers tells.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

CHUNK_VOXELS = 4096
"""32 classes x 8 channels x 4096 voxels x 4 bytes = 4 MB: what one step writes the next finds in a cache."""


def dynamic_heads_ref(h: Tensor, params: Tensor) -> Tensor:
    """Plain torch, one window and one class after the other.

    h: [N, K, D, H, W]. params: [N, classes, 2*K*K + 3*K + 1] or [N, classes, K + 1]. Returns logits
    [N, classes, D, H, W].
    """
    single = of_one_layer(params, h.shape[1])
    logits = h.new_empty(h.shape[0], params.shape[1], *h.shape[2:])
    for n in range(h.shape[0]):
        voxels = h[n].flatten(1)
        for c in range(params.shape[1]):
            if single:
                logits[n, c] = (params[n, c, :-1] @ voxels + params[n, c, -1]).view(h.shape[2:])
                continue
            w1, w2, w3, b1, b2, b3 = split_parameters(params[n, c], h.shape[1])
            y = torch.relu(w1 @ voxels + b1[:, None])
            y = torch.relu(w2 @ y + b2[:, None])
            logits[n, c] = (w3 @ y + b3[:, None]).view(h.shape[2:])
    return logits


def dynamic_heads_torch(h: Tensor, params: Tensor) -> Tensor:
    """The same, all classes at once, a chunk of voxels after the other: nothing but the logits reaches memory."""
    n, k, *grid = h.shape
    classes = params.shape[1]
    voxels = h.reshape(n, k, -1)
    if of_one_layer(params, k):
        return torch.baddbmm(params[..., -1:], params[..., :-1], voxels).view(n, classes, *grid)
    logits = h.new_empty(n, classes, math.prod(grid))
    for i in range(n):
        w1, w2, w3, b1, b2, b3 = split_parameters(params[i], k)
        w1, b1 = w1.reshape(classes * k, k), b1.reshape(classes * k, 1)
        for start in range(0, voxels.shape[2], CHUNK_VOXELS):
            part = slice(start, start + CHUNK_VOXELS)
            y = torch.addmm(b1, w1, voxels[i, :, part]).relu_().view(classes, k, -1)
            y = torch.baddbmm(b2[:, :, None], w2, y).relu_()
            logits[i, :, part] = torch.baddbmm(b3[:, :, None], w3, y)[:, 0]
    return logits.view(n, classes, *grid)


dynamic_heads = torch.library.custom_op("umlite::dynamic_heads", dynamic_heads_torch, mutates_args=())
"""The same, one node for torch.compile. On GPUs the heads are `fused_heads`, which needs no logits."""


@dynamic_heads.register_fake
def _(h: Tensor, params: Tensor) -> Tensor:
    return h.new_empty(h.shape[0], params.shape[1], *h.shape[2:])


def of_one_layer(params: Tensor, k: int) -> bool:
    """Whether these are parameters of heads of one layer that read k channels."""
    return params.shape[-1] == k + 1


def as_three_layers(params: Tensor, k: int) -> Tensor:
    """Parameters [..., K + 1] of one layer as those of three that compute the same of inputs that are not negative."""
    eye = torch.eye(k, dtype=params.dtype, device=params.device).flatten().expand(*params.shape[:-1], -1)
    weight, bias = params.split((k, 1), dim=-1)
    nothing = torch.zeros_like(weight)
    return torch.cat((eye, eye, weight, nothing, nothing, bias), dim=-1)


def split_parameters(params: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """[..., P] -> w1 [..., K, K], w2 [..., K, K], w3 [..., 1, K], b1 [..., K], b2 [..., K], b3 [..., 1]."""
    w1, w2, w3, b1, b2, b3 = params.split((k * k, k * k, k, k, k, 1), dim=-1)
    lead = params.shape[:-1]
    return w1.view(*lead, k, k), w2.view(*lead, k, k), w3.view(*lead, 1, k), b1, b2, b3
