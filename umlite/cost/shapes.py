"""The sizes of a scan that its cost depends on."""

from __future__ import annotations

from umlite.cost.memory import RunShapes
from umlite.volume.preparation import Volume
from umlite.volume.reading import Scan
from umlite.windows import Size


def run_shapes(scan: Scan, volume: Volume, window: Size) -> RunShapes:
    """Of a scan and the volume prepared from it."""
    kept, stored = (scan.voxels.dtype.itemsize, scan.stored_bytes) if scan.is_held else (0, 0)
    return RunShapes(scan.shape, kept, stored, volume.frame.model.shape, volume.frame.shape, window)
