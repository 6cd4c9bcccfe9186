"""The windows of a scan on which two networks are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nibabel.spatialimages import SpatialImage
from torch import Tensor

from umlite.api import Segmenter
from umlite.errors import InputError, RequestError
from umlite.sweep.runner import constant_windows
from umlite.volume.preparation import Volume
from umlite.windows import Size, pad_to_window, window_at, window_grid


@dataclass(frozen=True, eq=False)
class ComparedWindows:
    """A prepared scan and the grid of its windows.

    Args:
        volume: the scan.
        voxels: [X, Y, Z] float32, padded so that a window fits.
        grid: where all windows begin.
        window: their size.
        overlap: of neighbouring windows.
    """

    volume: Volume
    voxels: Tensor
    grid: list[Size]
    window: Size
    overlap: float

    @classmethod
    def of(
        cls, segmenter: Segmenter, scan: Path | SpatialImage, overlap: float, *, force_geometry: bool = False
    ) -> ComparedWindows:
        """Prepare a scan. Raises InputError where it has nothing to compare."""
        volume = segmenter.prepare(scan, force_geometry=force_geometry).volume
        if volume.is_empty:
            least = segmenter.card.hu_range[0]
            raise InputError(f"{scan} has nothing above {least:g} HU, so there is nothing to compare.")
        window = segmenter.card.window
        padded, _ = pad_to_window(volume.voxels, window)
        grid = window_grid((padded.shape[0], padded.shape[1], padded.shape[2]), window, overlap)
        return cls(volume, padded, grid, window, overlap)

    def starts(self, count: int | None = None) -> list[Size]:
        """Where the windows begin that are not constant, or all if all are. count: so many of them, evenly spread."""
        constant = constant_windows(self.voxels, self.window, self.overlap)
        varied = [start for start in self.grid if start not in constant] or self.grid
        return varied if count is None else spread_evenly(varied, count)

    def at(self, start: Size) -> Tensor:
        """The window [D, H, W] that begins there."""
        return self.voxels[window_at(start, self.window)]


def check_count(windows: int | None) -> None:
    """Raise RequestError for a number of windows that compares nothing."""
    if windows is not None and windows < 1:
        raise RequestError(f"Expected at least 1 window to compare, found {windows}.", about="sample")


def spread_evenly(starts: Sequence[Size], count: int) -> list[Size]:
    """At most `count` windows, spread evenly over their order: one from the middle of each part."""
    count = min(count, len(starts))
    return [starts[(2 * k + 1) * len(starts) // (2 * count)] for k in range(count)]
