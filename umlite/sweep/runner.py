"""Windows through an engine, a batch at a time; windows of constant input are computed once per value and reused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from umlite.engines.engine import Engine
from umlite.gpu import transfer
from umlite.progress import Progress
from umlite.windows import Size, axis_starts

_KEPT_ANSWERS = 1
"""Answers of constant windows held at a time: nearly all are of air, and one takes as much memory as its logits."""


@dataclass(frozen=True)
class WindowCounts:
    """Windows of a run: `run` through the network, `reused` from an equal constant window, of `total` in the grid.

    With all windows run + reused = total. Adaptive windows leave some out, and may run some twice.
    """

    run: int
    reused: int
    total: int

    def __str__(self) -> str:
        return str(self.total) if self.run == self.total else f"{self.run} of {self.total}"


class WindowRunner:
    """Runs windows of one volume and counts them.

    volume: [X, Y, Z] float32 on the engine's device. classes: positions of heads. total: windows to announce to
    `progress`; more than these are announced as they come.
    """

    def __init__(
        self, engine: Engine, volume: Tensor, classes: Sequence[int], overlap: float, total: int, progress: Progress
    ) -> None:
        self._engine, self._volume, self._classes = engine, volume, list(classes)
        self._constant = constant_windows(volume, engine.card.window, overlap)
        self._answers: dict[float, Tensor] = {}
        self._total, self._progress = total, progress
        self.run = self.reused = 0

    def add(self, starts: Sequence[Size], sums: Tensor, origin: Size) -> None:
        """Add windows to `sums` in the order of `starts`; arguments as of `Engine.add_windows`."""
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
        """How many."""
        return len(self._classes)

    def counts(self, total: int) -> WindowCounts:
        return WindowCounts(self.run, self.reused, total)

    def _flush(self, batch: list[Size], sums: Tensor, origin: Size) -> None:
        if batch:
            self._engine.add_windows(self._volume, batch, self._classes, sums, origin)
            self.run += len(batch)
            self._report()
            batch.clear()

    def _add_constant(self, start: Size, sums: Tensor, origin: Size) -> None:
        value = self._constant[start]
        if value in self._answers:
            self.reused += 1
        else:
            while len(self._answers) >= _KEPT_ANSWERS:
                self._answers.pop(next(iter(self._answers)))
            window = torch.full((1, 1, *self._engine.card.window), value, device=self._volume.device)
            self._answers[value] = self._engine.window_logits(window, self._classes)[0]
            self.run += 1
        self._engine.add_logits(self._answers[value], start, sums, origin)
        self._report()

    def _report(self) -> None:
        done = self.run + self.reused
        self._progress(done, max(done, self._total))


def constant_windows(volume: Tensor, window: Size, overlap: float) -> dict[Size, float]:
    """The windows of the grid whose voxels all have one value, and that value; zero padding and air, above all.

    volume: [X, Y, Z], not smaller than a window. Raises RequestError unless 0 <= overlap < 1.
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
    """[Y, Z] -> [windows along Y, windows along Z]: the least or largest value in each."""
    reduce = torch.amax if largest else torch.amin
    rows = torch.stack([reduce(plane[start : start + window[1]], 0) for start in y])
    return torch.stack([reduce(rows[:, start : start + window[2]], 1) for start in z], 1)
