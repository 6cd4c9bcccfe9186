"""Windows through an engine, a batch at a time. Windows of constant input are computed once per value and reused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from umlite.engines.engine import Engine
from umlite.gpu import transfer
from umlite.progress import Progress
from umlite.windows import Size, axis_starts

_KEPT_LOGITS = 1
"""Constant windows whose logits are kept. Nearly all are of air, and each takes the memory of all its logits."""


@dataclass(frozen=True)
class WindowCounts:
    """Numbers of windows in a run. With all windows, run + reused = total; adaptive runs skip some and repeat some.

    Args:
        run: windows that went through the network.
        reused: constant windows whose logits were already known.
        total: windows of the grid.
    """

    run: int
    reused: int
    total: int

    def __str__(self) -> str:
        return str(self.total) if self.run == self.total else f"{self.run} of {self.total}"


class WindowRunner:
    """Runs the windows of one volume and counts them.

    Args:
        engine: computes the windows.
        volume: [X, Y, Z] float32 on the engine's device.
        classes: positions of heads.
        overlap: 0 <= overlap < 1, by which the grid of windows is laid.
        total: number of windows that `progress` is told to expect; it grows when more run.
        progress: called after each batch.
    """

    def __init__(
        self, engine: Engine, volume: Tensor, classes: Sequence[int], overlap: float, total: int, progress: Progress
    ) -> None:
        self._engine, self._volume, self._classes = engine, volume, list(classes)
        self._constant = constant_windows(volume, engine.card.window, overlap)
        self._kept: dict[float, Tensor] = {}
        self._total, self._progress = total, progress
        self.run = self.reused = 0

    def add(self, starts: Sequence[Size], sums: Tensor, origin: Size) -> None:
        """Run windows in the order of `starts` and add them to `sums`. `Engine.add_windows` describes the arguments."""
        batch: list[Size] = []
        for start in starts:
            if start in self._constant:
                self._flush(batch, sums, origin)
                self._add_constant(start, sums, origin)
                continue
            batch.append(start)
            if len(batch) == self._engine.setup.options.batch:
                self._flush(batch, sums, origin)
        self._flush(batch, sums, origin)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self._classes)

    def counts(self, total: int) -> WindowCounts:
        """The numbers so far, with `total` windows in the grid."""
        return WindowCounts(self.run, self.reused, total)

    def _flush(self, batch: list[Size], sums: Tensor, origin: Size) -> None:
        if batch:
            self._engine.add_windows(self._volume, batch, self._classes, sums, origin)
            self.run += len(batch)
            self._report()
            batch.clear()

    def _add_constant(self, start: Size, sums: Tensor, origin: Size) -> None:
        value = self._constant[start]
        if value in self._kept:
            self.reused += 1
        else:
            while len(self._kept) >= _KEPT_LOGITS:
                self._kept.pop(next(iter(self._kept)))
            window = torch.full((1, 1, *self._engine.card.window), value, device=self._volume.device)
            self._kept[value] = self._engine.window_logits(window, self._classes)[0]
            self.run += 1
        self._engine.add_logits(self._kept[value], start, sums, origin)
        self._report()

    def _report(self) -> None:
        done = self.run + self.reused
        self._progress(done, max(done, self._total))


def constant_windows(volume: Tensor, window: Size, overlap: float) -> dict[Size, float]:
    """Windows whose voxels all have the same value: mostly zero padding and air.

    Args:
        volume: [X, Y, Z], not smaller than a window.
        window: sides of a window in voxels.
        overlap: 0 <= overlap < 1.

    Returns:
        First voxel of each such window of the grid, and its value.

    Raises:
        RequestError: an overlap out of range.
    """
    x, y, z = axis_starts((volume.shape[0], volume.shape[1], volume.shape[2]), window, overlap)
    low, high = [], []
    for start in x:
        part = volume[start : start + window[0]]
        low.append(_over_windows(part.amin(0), y, z, window, largest=False))
        high.append(_over_windows(part.amax(0), y, z, window, largest=True))
    lowest, highest = transfer.to_host(torch.stack(low)), transfer.to_host(torch.stack(high))
    return {(x[i], y[j], z[k]): float(lowest[i, j, k]) for i, j, k in torch.nonzero(lowest == highest).tolist()}


def _over_windows(plane: Tensor, y: list[int], z: list[int], window: Size, *, largest: bool) -> Tensor:
    """Least or largest value of each window: [Y, Z] -> [windows along Y, windows along Z]."""
    reduce = torch.amax if largest else torch.amin
    rows = torch.stack([reduce(plane[start : start + window[1]], 0) for start in y])
    return torch.stack([reduce(rows[:, start : start + window[2]], 1) for start in z], 1)
