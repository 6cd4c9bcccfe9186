"""Between a scan's grid and the model's on the device: intensities forth, bit masks back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from umlite.kernels.triton import require
from umlite.volume.resampling import resample_linear, resample_nearest


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


def resample_bits_ref(
    bits: Tensor, to_source: Sequence[float], shape: Sequence[int], source_shape: Sequence[int], start: Sequence[int]
) -> Tensor:
    """The package's own nearest neighbour (`umlite.volume.resampling`), on the host.

    bits: int32 or int64 [x, y, z], any strides: the part from index `start` on of a source of `source_shape` that is 0
    elsewhere. to_source: 12 numbers, the first three rows of the map from an index of the target to one of the source.
    shape: of the target [X, Y, Z].
    Returns bits of `shape`, the first axis contiguous, as NIfTI stores it. Half way between two voxels the higher index
    wins; outside the source its nearest border voxel counts.
    """
    found = resample_nearest(bits.numpy(), matrix_of(to_source), _triple(shape), _triple(source_shape), _triple(start))
    return torch.from_numpy(found)


@torch.library.custom_op("umlite::resample_bits", mutates_args=())
def resample_bits(
    bits: Tensor, to_source: Sequence[float], shape: Sequence[int], source_shape: Sequence[int], start: Sequence[int]
) -> Tensor:
    """The same; on a GPU one pass. One node for torch.compile. Raises DeviceError on a GPU without Triton."""
    return resample_bits_ref(bits, to_source, shape, source_shape, start)


@resample_bits.register_kernel("cuda")
def _(
    bits: Tensor, to_source: Sequence[float], shape: Sequence[int], source_shape: Sequence[int], start: Sequence[int]
) -> Tensor:
    require()
    from umlite.kernels.triton.resample import launch_resample_bits

    out = _first_axis_contiguous(bits, shape)
    launch_resample_bits(bits, matrix_of(to_source), _triple(source_shape), _triple(start), out)
    return out


@resample_bits.register_fake
def _(bits: Tensor, to_source: Sequence[float], shape: Sequence[int], *_: object) -> Tensor:  # noqa: ARG001
    return _first_axis_contiguous(bits, shape)


def matrix_of(to_source: Sequence[float]) -> np.ndarray:
    """Float64 [4, 4] from its first three rows."""
    return np.vstack([np.reshape(np.asarray(to_source, dtype=np.float64), (3, 4)), [0.0, 0.0, 0.0, 1.0]])


def rows_of(matrix: np.ndarray) -> list[float]:
    """The 12 numbers that the operations here take, from float64 [4, 4]."""
    return [float(value) for value in matrix[:3].reshape(-1)]


def _first_axis_contiguous(like: Tensor, shape: Sequence[int]) -> Tensor:
    x, y, z = shape
    return like.new_empty(z, y, x).permute(2, 1, 0)


def _triple(numbers: Sequence[int]) -> tuple[int, int, int]:
    first, second, third = numbers
    return first, second, third
