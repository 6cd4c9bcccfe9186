"""Prepares a scan on a GPU, or on the host if the GPU's memory does not hold it."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from umlite.gpu import transfer
from umlite.gpu.memory import is_out_of_memory
from umlite.kernels.resample import resample_hu, rows_of
from umlite.progress import Notify
from umlite.volume.preparation import Size, Volume, prepare_volume
from umlite.volume.reading import Scan
from umlite.volume.resampling import tensor_of
from umlite.weights.model_card import ModelCard


def prepare_on(device: torch.device, scan: Scan, card: ModelCard, tell: Notify, max_ram: int | None) -> Volume:
    """Prepare a scan like `prepare_volume`, up to rounding, on a device.

    Args:
        device: the GPU.
        scan: the scan.
        card: describes the weights.
        tell: gets a sentence if the scan does not fit in the device's memory.
        max_ram: limit of the host's memory in bytes, if the host takes over.

    Raises:
        InputError, DeviceError: see `prepare_volume`.
    """
    volume = _where_it_fits(device, scan, card)
    if volume is None:
        tell(f"The GPU's memory does not hold {scan.name} while it is resampled: resampled on the host instead.")
        volume = prepare_volume(scan, card.spacing_mm, card.hu_range, max_ram=max_ram)
    return volume


def _where_it_fits(device: torch.device, scan: Scan, card: ModelCard) -> Volume | None:
    """The volume, or None if it does not fit. A function of its own, so that the error frees the device's memory."""
    try:
        return prepare_volume(scan, card.spacing_mm, card.hu_range, functools.partial(_resample, device))
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return None


def _resample(
    device: torch.device, scan: Scan, axes: Size, to_stored: np.ndarray, shape: Size, hu_range: tuple[float, float]
) -> Tensor:
    """A `Resample` that sends the scan as it is stored, a few planes at a time, and samples it there in one pass."""
    x, y, z = scan.shape
    dtype = torch.int16 if scan.voxels.dtype == np.int16 else torch.float32
    planes = (tensor_of(slab).permute(2, 1, 0) for slab in scan.slabs())
    hu = transfer.planes_to_device(planes, (z, y, x), dtype, device).permute(2, 1, 0)
    return resample_hu(hu.permute(axes), rows_of(to_stored), shape, *hu_range)
