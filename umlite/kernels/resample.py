"""From a scan's grid to the model's on the device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from umlite.kernels.triton import require
from umlite.volume.resampling import resample_linear


def resample_hu_ref(
    volume: Tensor, to_source: Sequence[float], shape: Sequence[int], low_hu: float, high_hu: float
) -> Tensor:
    """The package's own resampling (`umlite.volume.resampling`, MONAI's Spacing), then HU to [0, 1].

    volume: float32 or int16 [X, Y, Z] in HU, any strides. to_source: 12 numbers, the first three rows of the map from
    an index of the target to one of `volume`. shape: of the target. low_hu, high_hu: what becomes 0 and 1.
    Returns float32 [0, 1] of `shape`, contiguous. Outside the volume its nearest border voxel counts.
    """
    x, y, z = shape
    shifted = resample_linear(volume, matrix_of(to_source), (x, y, z)) - low_hu
    return shifted.div_(high_hu - low_hu).clamp_(0.0, 1.0).contiguous()


@torch.library.custom_op("umlite::resample_hu", mutates_args=())
def resample_hu(
    volume: Tensor, to_source: Sequence[float], shape: Sequence[int], low_hu: float, high_hu: float
) -> Tensor:
    """The same up to rounding; on a GPU one pass. One node for torch.compile. DeviceError on a GPU without Triton."""
    return resample_hu_ref(volume, to_source, shape, low_hu, high_hu)


@resample_hu.register_kernel("cuda")
def _(volume: Tensor, to_source: Sequence[float], shape: Sequence[int], low_hu: float, high_hu: float) -> Tensor:
    require()
    from umlite.kernels.triton.resample import launch_resample_hu

    out = volume.new_empty(shape, dtype=torch.float32)
    launch_resample_hu(volume, matrix_of(to_source), low_hu, high_hu, out)
    return out


@resample_hu.register_fake
def _(volume: Tensor, to_source: Sequence[float], shape: Sequence[int], low_hu: float, high_hu: float) -> Tensor:  # noqa: ARG001
    return volume.new_empty(shape, dtype=torch.float32)


def matrix_of(to_source: Sequence[float]) -> np.ndarray:
    """Float64 [4, 4] from its first three rows."""
    return np.vstack([np.reshape(np.asarray(to_source, dtype=np.float64), (3, 4)), [0.0, 0.0, 0.0, 1.0]])


def rows_of(matrix: np.ndarray) -> list[float]:
    """The 12 numbers that the operation takes, from float64 [4, 4]."""
    return [float(value) for value in matrix[:3].reshape(-1)]
