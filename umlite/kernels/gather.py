"""Windows cut out of a scan, in the network's dtype, in one operation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from umlite.kernels.triton import require


def gather_windows_ref(volume: Tensor, starts: Tensor, window: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Plain torch, one window after the other.

    volume: [X, Y, Z], any strides. starts: [N, 3] int64, first voxels of windows inside the volume. window: D, H, W.
    Returns [N, 1, D, H, W] of `dtype`, contiguous.
    """
    depth, rows, columns = window
    windows = volume.new_empty(len(starts), 1, depth, rows, columns, dtype=dtype)
    for n, (x, y, z) in enumerate(starts.tolist()):
        windows[n, 0] = volume[x : x + depth, y : y + rows, z : z + columns]
    return windows


@torch.library.custom_op("umlite::gather_windows", mutates_args=())
def gather_windows(volume: Tensor, starts: Tensor, window: Sequence[int], dtype: torch.dtype) -> Tensor:
    """The same; on a GPU one launch, with starts that stay on the device. One node for torch.compile.

    There a window that reaches out of the volume gets zeros. Raises DeviceError on a GPU without Triton.
    """
    return gather_windows_ref(volume, starts, window, dtype)


@gather_windows.register_kernel("cuda")
def _(volume: Tensor, starts: Tensor, window: Sequence[int], dtype: torch.dtype) -> Tensor:
    require()
    from umlite.kernels.triton.gather import launch_gather

    windows = volume.new_empty(len(starts), 1, *window, dtype=dtype)
    launch_gather(volume, starts, windows)
    return windows


@gather_windows.register_fake
def _(volume: Tensor, starts: Tensor, window: Sequence[int], dtype: torch.dtype) -> Tensor:
    return volume.new_empty(starts.shape[0], 1, *window, dtype=dtype)
