"""Logits of windows, weighted by importance, added to a scan's sums in place."""

from __future__ import annotations

import torch
from torch import Tensor

from umlite.kernels.triton import require


def blend_ref(logits: Tensor, importance: Tensor, sums: Tensor, starts: Tensor) -> None:
    """Plain torch, one window after the other; no division, because the decision needs none.

    logits: [N, classes, D, H, W] of any floating type. importance: [D, H, W]. sums: float32 [classes, X, Y, Z],
    contiguous along Z. starts: [N, 3] int64, each window's first voxel in `sums`; every window lies inside.
    """
    depth, rows, columns = importance.shape
    for answer, (x, y, z) in zip(logits, starts.tolist(), strict=True):
        sums[:, x : x + depth, y : y + rows, z : z + columns].addcmul_(answer.to(sums.dtype), importance)


@torch.library.custom_op("umlite::blend", mutates_args=("sums",))
def blend(logits: Tensor, importance: Tensor, sums: Tensor, starts: Tensor) -> None:
    """The same; on a GPU one launch a window, with starts that stay on the device. One node for torch.compile.

    It rounds as `fused_heads` does, which needs no logits: the same windows give the same sums either way
    where the logits are float32. Raises DeviceError on a GPU without Triton.
    """
    blend_ref(logits, importance, sums, starts)


@blend.register_kernel("cuda")
def _(logits: Tensor, importance: Tensor, sums: Tensor, starts: Tensor) -> None:
    require()
    from umlite.kernels.triton.blend import launch_blend

    launch_blend(logits, importance, sums, starts)


@blend.register_fake
def _(*_: object) -> None:
    return None
