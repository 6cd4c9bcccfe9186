"""What a scan will cost before it is computed: windows, seconds, memory, size of the results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from umlite.api import Segmenter
from umlite.inference.postprocessing import needed_classes
from umlite.inference.window_runner import constant_windows
from umlite.inference.windows import Size, pad_to_window, padded_shape, streaming_axis, window_grid
from umlite.measurement.calibration import Calibration
from umlite.volume.preparation import Volume
from umlite.volume.reading import Scan

MASK_BYTES_PER_VOXEL = 0.01
"""Of a gzipped mask: organs are runs of equal values. Noise packs worse."""


@dataclass(frozen=True)
class Prediction:
    """Cost of one scan. windows: of the grid; windows_run: without reused constant ones. steps: seconds.

    peak_bytes: the largest resident set of the process. output_bytes: of the results, uncompressed and packed.
    """

    windows: int
    windows_run: int
    steps: dict[str, float]
    peak_bytes: int
    output_bytes: int

    @property
    def seconds(self) -> float:
        """Of all steps."""
        return sum(self.steps.values())

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "windows": self.windows,
            "windows_run": self.windows_run,
            "seconds": round(self.seconds, 2),
            "steps_s": {step: round(value, 3) for step, value in self.steps.items()},
            "peak_gb": round(self.peak_bytes / 1e9, 3),
            "output_mb": round(self.output_bytes / 1e6, 2),
        }


def predict(
    segmenter: Segmenter,
    calibration: Calibration,
    scan: Scan,
    volume: Volume,
    names: Sequence[str],
    overlap: float = 0.5,
) -> Prediction:
    """The cost of segmenting `scan`, whose prepared volume is `volume`, into the classes `names` (canonical)."""
    window = segmenter.manifest.window
    needed = len(needed_classes(names, segmenter.classes.names))
    grid, distinct = 0, 0
    if not volume.is_empty:
        padded, _ = pad_to_window(volume.voxels, window)
        grid = len(window_grid((padded.shape[0], padded.shape[1], padded.shape[2]), window, overlap))
        constant = constant_windows(padded, window, overlap)
        distinct = grid - len(constant) + len(set(constant.values()))
    scan_voxels, model_voxels = math.prod(scan.shape), volume.voxels.numel()
    c = calibration
    steps = {
        "read": c.read_s * scan_voxels,
        "prepare": c.prepare_s * max(scan_voxels, math.prod(volume.frame.model.shape)),
        "windows": distinct * (c.window_s + c.class_s * needed),
        "postprocess": c.postprocess_s * model_voxels * len(names),
        "restore": c.restore_s * scan_voxels,
        "write": c.write_s * scan_voxels * len(names),
    }
    peak = peak_of_run(c.process_bytes, scan.shape, volume.frame.model.shape, volume.frame.shape, window, needed)
    return Prediction(grid, distinct, steps, peak, int(MASK_BYTES_PER_VOXEL * scan_voxels * len(names)))


def peak_of_run(process_bytes: int, scan: Size, model: Size, volume: Size, window: Size, classes: int) -> int:
    """Largest resident set in bytes over the steps of a run on a CPU.

    scan, model, volume: shapes of the scan, of the resampled grid, of the foreground in it. The scan stays in memory as
    float32 all the time; every step holds what its term says.
    """
    scan_voxels, model_voxels, kept = math.prod(scan), math.prod(model), math.prod(volume)
    padded = padded_shape(volume, window)
    axis = streaming_axis(padded, window)
    slab = math.prod(window[k] if k == axis else padded[k] for k in range(3))
    bits = 4 if classes <= 32 else 8
    held = 4 * scan_voxels
    steps = (
        2 * scan_voxels,  # reading: int16 beside float32
        4 * model_voxels + 4 * kept,  # preparing: the resampled grid and its foreground
        4 * kept + 4 * classes * slab + bits * math.prod(padded),  # windows
        4 * kept + 2 * bits * kept + 4 * kept,  # post-processing: two bit masks, labels of components
        4 * kept + bits * kept + bits * scan_voxels,  # restoring
        bits * scan_voxels + scan_voxels,  # writing: one mask at a time
    )
    return process_bytes + held + max(steps)


def classes_that_fit(
    limit_bytes: int, process_bytes: int, scan: Size, model: Size, volume: Size, window: Size, classes: int
) -> int:
    """How many of the classes can be computed at a time within the limit; 0 where not even one."""
    fitting = (
        n for n in range(classes, 0, -1) if peak_of_run(process_bytes, scan, model, volume, window, n) <= limit_bytes
    )
    return next(fitting, 0)
