"""From a scan to the volume that the model sees, and from labels of that volume back to the scan."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from umlite.errors import DeviceError, InputError
from umlite.machine.memory import free_bytes
from umlite.machine.sizes import format_size
from umlite.volume.geometry import Grid, Size, crop_grid, flip_axes, index_map, permute_axes, ras_axes, resampled_grid
from umlite.volume.reading import Scan
from umlite.volume.resampling import (
    nearest_indices,
    resample_linear,
    resample_linear_planes,
    resample_nearest,
    tensor_of,
)

_WINDOW = 96
_MOST_VOXELS = 1 << 30
"""A whole body, 700 x 700 x 2000 mm, has 2.9e8 voxels at 1.5 mm; more than this is a wrong spacing."""

Resample = Callable[[Scan, Size, np.ndarray, Size, tuple[float, float]], torch.Tensor]
"""Takes a scan, the order of its axes, the float64 [4, 4] map from an index of the target to one of the scan in that
order, the target's shape, and what HU become 0 and 1. Gives float32 of that shape in [0, 1], on any device, in memory
that is not the scan's. `resample_on_host` says what the values are."""


@dataclass(frozen=True, eq=False)
class Frame:
    """All that is needed to bring a model-space array back to the scan's grid.

    axes: the scan's axis that runs closest to right, anterior, superior.
    stored: the scan's grid, its axes in that order, their directions as stored.
    model: the resampled grid before cropping, RAS.
    start, stop: the foreground box in `model`, `stop` excluded.
    """

    axes: tuple[int, int, int]
    stored: Grid
    model: Grid
    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def scan_shape(self) -> tuple[int, int, int]:
        first, second, third = (self.stored.shape[self.axes.index(axis)] for axis in range(3))
        return first, second, third

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the cropped volume, and of the labels that `restore` takes."""
        return crop_grid(self.model, self.start, self.stop).shape

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the scan lies above the HU range's lower end."""
        return 0 in self.shape


@dataclass(frozen=True, eq=False)
class Volume:
    """What the network sees of a scan.

    voxels: float32 [X, Y, Z] in [0, 1], RAS, at the model's spacing, cropped to the foreground; contiguous, on the
        device where they were resampled. Of shape (0, 0, 0) when nothing lies above the HU range's lower end.
    affine: float64 [4, 4] of the cropped volume, voxel index -> RAS mm.
    frame: the way back to the scan.
    """

    voxels: torch.Tensor
    affine: np.ndarray
    frame: Frame

    @property
    def is_empty(self) -> bool:
        return self.voxels.numel() == 0


def resample_on_host(
    scan: Scan, axes: Size, to_stored: np.ndarray, shape: Size, hu_range: tuple[float, float]
) -> torch.Tensor:
    """Trilinear, then HU to [0, 1]: a `Resample`. Outside the scan its nearest border voxel counts."""
    voxels, is_ours = _resampled(scan, axes, to_stored, shape)
    return _scale(voxels, hu_range, in_place=is_ours)


def prepare_volume(
    scan: Scan,
    spacing_mm: tuple[float, float, float],
    hu_range: tuple[float, float],
    resample: Resample = resample_on_host,
    max_ram: int | None = None,
) -> Volume:
    """Reorient, resample, scale and crop a scan for the network. The scan is not changed.

    Args:
        scan: the scan.
        spacing_mm: of the model, in x, y, z order.
        hu_range: what becomes 0 and 1.
        resample: where that happens.
        max_ram: memory limit in bytes, beside what the machine has free; of no account on a GPU.

    Raises:
        InputError: the scan's spacing would make an absurdly large volume.
        DeviceError: the volume does not fit in memory, which is told before any is taken.

    Source: model.md section 1, steps 2 to 5; MONAI's Orientation, Spacing, ScaleIntensityRange, CropForeground.
    """
    axes, flips = ras_axes(scan.affine)
    stored = permute_axes(Grid(scan.shape, scan.affine), axes)
    model = resampled_grid(flip_axes(stored, flips), spacing_mm)
    if math.prod(model.shape) > _MOST_VOXELS:
        extent = " x ".join(f"{n * mm:.0f}" for n, mm in zip(scan.shape, scan.spacing_mm, strict=True))
        raise InputError(
            f"{scan.name} claims to cover {extent} mm, too much for a CT scan: expected at most a human body. "
            f"Check the voxel spacing in its header."
        )
    if resample is resample_on_host:
        _check_memory(scan.name, model.shape, max_ram)
    voxels = resample(scan, axes, index_map(model, stored), model.shape, hu_range)
    start, stop = foreground_box(voxels)
    cropped = voxels[start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]].contiguous()
    return Volume(cropped, crop_grid(model, start, stop).affine, Frame(axes, stored, model, start, stop))


def restore(labels: np.ndarray, frame: Frame, planes: slice = slice(None)) -> np.ndarray:
    """Labels of the cropped volume on the scan's own grid and axes: nearest neighbour, 0 outside the crop box.

    labels: any integer type or bool, [X, Y, Z] of `frame.shape`. planes: of the scan's last axis, all by default.
    Returns the same dtype, of `frame.scan_shape`. Raises ValueError when the shape is another.
    Source: model.md section 7; the order is MONAI's: un-crop with zeros, resample with border padding, reorient.
    """
    if labels.shape != frame.shape:
        raise ValueError(f"expected labels of shape {frame.shape}, the cropped volume's, got {labels.shape}")
    if labels.size == 0:
        x, y, z = frame.scan_shape
        return np.zeros((x, y, len(range(z)[planes])), dtype=labels.dtype, order="F")
    to_model = index_map(frame.stored, frame.model)
    first, second, third = (planes if axis == 2 else slice(None) for axis in frame.axes)
    box = (first, second, third)
    restored = resample_nearest(labels, to_model, frame.stored.shape, frame.model.shape, frame.start, box)
    return restored.transpose([frame.axes.index(axis) for axis in range(3)])


def nearest_places(places: np.ndarray, frame: Frame) -> np.ndarray:
    """Voxels of the cropped volume, int64 [n, 3], from which `restore` takes the labels of these of the scan, [n, 3].

    Some are outside the cropped volume where the scan's are outside the crop box.
    """
    to_model = index_map(frame.stored, frame.model)
    stored = places[:, list(frame.axes)]
    return nearest_indices(stored, to_model, frame.stored.shape, frame.model.shape) - np.array(frame.start)


def foreground_box(voxels: torch.Tensor) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """First and one past last index of the values > 0, an axis each; all zeros where there is none.

    Source: MONAI's CropForeground with its defaults.
    """
    start, stop = [0, 0, 0], [0, 0, 0]
    for axis in range(3):
        others = [a for a in range(3) if a != axis]
        found = torch.nonzero(voxels.amax(dim=others) > 0).flatten()
        if len(found) == 0:
            return (0, 0, 0), (0, 0, 0)
        start[axis], stop[axis] = int(found[0]), int(found[-1]) + 1
    return (start[0], start[1], start[2]), (stop[0], stop[1], stop[2])


def _check_memory(name: str, shape: Size, max_ram: int | None) -> None:
    """The volume is held twice while it is cropped, then padded to the size of a window."""
    volume, padded = math.prod(shape), math.prod(max(n, _WINDOW) for n in shape)
    wanted = 4 * max(2 * volume, volume + padded)
    room = [n for n in (free_bytes(torch.device("cpu")), max_ram) if n is not None]
    if wanted > min(room, default=wanted):
        size = " x ".join(map(str, shape))
        raise DeviceError(
            f"{name} becomes {size} voxels for the network, which need {format_size(wanted)} of memory; "
            f"{format_size(min(room))} may be taken. Check the spacing in its header, crop it, or allow more memory.",
            about="max_ram",
        )


def _resampled(
    scan: Scan, axes: tuple[int, int, int], to_stored: np.ndarray, shape: tuple[int, int, int]
) -> tuple[torch.Tensor, bool]:
    """The scan, its axes in another order, at the voxels of another grid; and whether that memory is not the scan's.

    Voxels that are not held are read a few planes at a time, unless the scan is sheared.
    """
    if not scan.is_held:
        first, second, third = (scan.shape[axis] for axis in axes)
        order = [axes.index(2), axes.index(1), axes.index(0)]
        pieces = (tensor_of(slab).permute(2, 1, 0) for slab in scan.slabs())
        voxels = resample_linear_planes(pieces, (first, second, third), order, to_stored, shape)
        if voxels is not None:
            return voxels, True
    source = tensor_of(scan.hu).permute(axes)
    voxels = resample_linear(source, to_stored, shape)
    return voxels, voxels.data_ptr() != source.data_ptr()


def _scale(voxels: torch.Tensor, hu_range: tuple[float, float], in_place: bool) -> torch.Tensor:
    low, high = hu_range
    shifted = voxels.sub_(low) if in_place else voxels - low
    return shifted.div_(high - low).clamp_(0.0, 1.0)
