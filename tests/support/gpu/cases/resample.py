"""Launches of the resampling that the budget table covers: a chest CT to 1.5 mm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from support.gpu.budgets import Case
from umlite.kernels.triton.resample import launch_resample_hu

SCAN, MODEL = (512, 512, 601), (245, 245, 401)
FINER = np.diag([1.5 / 0.72, 1.5 / 0.72, 1.5, 1.0])


def intensities(dtype: torch.dtype) -> Callable[[], None]:
    """The scan's first axis is contiguous, as read from NIfTI."""

    def run() -> None:
        volume = torch.empty(SCAN[::-1], dtype=dtype, device="meta").permute(2, 1, 0)
        launch_resample_hu(volume, FINER, -175.0, 250.0, torch.empty(MODEL, device="meta"))

    return run


def elements(options: dict[str, Any]) -> int:
    """Voxels of a tile."""
    return options["TILE_X"] * options["TILE_Z"]


CASES = (
    Case("resample/hu/float32", intensities(torch.float32), elements),
    Case("resample/hu/int16", intensities(torch.int16), elements, always=True),
)
