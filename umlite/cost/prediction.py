"""Prediction of what a scan will cost: windows, seconds, memory and the size of the results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from umlite.api import Prepared, Segmenter
from umlite.cost.calibration import Calibration
from umlite.cost.memory import ADAPTIVE, ALL_WINDOWS, RunShapes, added_bytes, peak_bytes, vram_bytes
from umlite.machine.sizes import GB
from umlite.request import Classes, Request
from umlite.sweep.runner import constant_windows
from umlite.volume.preparation import Volume
from umlite.windows import Size, count_windows, pad_to_window

MASK_BYTES_PER_VOXEL = 0.005
"""Size of a gzipped mask per voxel of the scan: 31 MB for 32 classes of 512 x 512 x 800. Noise compresses far worse."""


@dataclass(frozen=True)
class Prediction:
    """Predicted cost of one scan with all windows.

    Args:
        windows: number of windows in the grid.
        windows_run: the same without constant windows that are reused.
        steps: seconds by step.
        peak_bytes: largest resident set of the process.
        output_bytes: size of the compressed masks.
        vram_bytes: GPU memory with the sums there, and with the sums on the host; (0, 0) on a CPU.
        fitting: resident memory by number of classes, up to the number that is computed.
    """

    windows: int
    windows_run: int
    steps: dict[str, float]
    peak_bytes: int
    output_bytes: int
    vram_bytes: tuple[int, int]
    fitting: dict[int, int]

    @property
    def seconds(self) -> float:
        """Seconds of all steps."""
        return sum(self.steps.values())

    def classes_within(self, limit: int) -> int:
        """The most classes that fit in `limit` bytes at a time; 0 if not even one fits."""
        return max((count for count, size in self.fitting.items() if size <= limit), default=0)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        gpu = {"vram_gb": round(self.vram_bytes[0] / GB, 3)} if self.vram_bytes[0] else {}
        return {
            "windows": self.windows,
            "windows_run": self.windows_run,
            "seconds": round(self.seconds, 2),
            "steps_s": {step: round(value, 3) for step, value in self.steps.items()},
            "peak_gb": round(self.peak_bytes / GB, 3),
            **gpu,
            "output_mb": round(self.output_bytes / 1e6, 2),
        }


def predict(
    segmenter: Segmenter, calibration: Calibration, prepared: Prepared, request: Request | Classes = None
) -> Prediction:
    """Predict the cost of segmenting a prepared scan.

    For adaptive windows the memory is that of adaptive windows, and the seconds are those of all windows.

    Args:
        segmenter: what will run.
        calibration: its costs on this machine.
        prepared: the scan.
        request: what is asked of it.

    Raises:
        RequestError: the request cannot be served.
    """
    asked = Request.of(request)
    scan, volume, window = prepared.scan, prepared.volume, segmenter.card.window
    names = segmenter.check_request(asked)
    computed = segmenter.needed_names(names, details=asked.details)
    needed = len(computed)
    grid, distinct = _count(volume, window, asked.overlap)
    shapes = RunShapes.of(scan, volume, window)
    voxels, kept, files = math.prod(scan.shape), volume.voxels.numel(), len(names)
    size = scan.path.stat().st_size if scan.path and scan.path.is_file() else 0
    c = calibration
    read = c.read_voxel_s * voxels + c.read_byte_s * size
    again = 0.0 if scan.is_held else read
    steps = {
        "read": read,
        "prepare": again + c.prepare_scan_s * voxels + c.prepare_model_s * math.prod(shapes.model),
        "windows": distinct * (c.window_s + c.class_s * needed) + c.decide_s * kept * needed,
        "postprocess": c.postprocess_s * kept * files,
        "statistics": c.statistics_s * voxels * files / len(segmenter.classes),
        "write": (c.restore_s + c.write_voxel_s * files) * voxels + c.write_file_s * files,
    }
    on_gpu = segmenter.setup.device.type == "cuda"
    layout = ADAPTIVE if asked.windows == "adaptive" else ALL_WINDOWS
    layout = replace(layout, on_host=not on_gpu, reused=distinct < grid)
    process = process_bytes(segmenter, c, computed)
    fitting = {n: peak_bytes(process, c.class_bytes, shapes, n, layout) for n in range(1, needed + 1)}
    vram = vram_bytes(c.device_bytes, shapes, needed, layout) if on_gpu else (0, 0)
    output = int(MASK_BYTES_PER_VOXEL * voxels * files)
    return Prediction(grid, distinct, steps, fitting[needed], output, vram, fitting)


def process_bytes(segmenter: Segmenter, calibration: Calibration, names: Sequence[str]) -> int:
    """Bytes of the process with its network, a window and the controllers of packs. names: of what is computed."""
    head = segmenter.card.network.head
    added = sum(segmenter.classes.head_of(name) >= head.classes for name in names)
    return calibration.process_bytes + added_bytes(head, added)


def _count(volume: Volume, window: Size, overlap: float) -> tuple[int, int]:
    """Number of windows in the grid, and of those that run: constant windows run once per value."""
    grid = count_windows(volume.frame.shape, window, overlap)
    if not grid:
        return 0, 0
    constant = constant_windows(pad_to_window(volume.voxels, window)[0], window, overlap)
    return grid, grid - len(constant) + len(set(constant.values()))
