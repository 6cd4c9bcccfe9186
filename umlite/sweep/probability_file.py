"""Probabilities of a volume on disk, a byte per voxel and class: in memory is one class at a time, on demand."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import torch

from umlite.errors import RequestError
from umlite.files import output_error
from umlite.gpu import transfer
from umlite.masks.bitmask import Box
from umlite.masks.probability_on_scan import STEPS
from umlite.sweep.slab import Part


class ProbabilityFile:
    """Sigmoid of blended logits over a volume, uint8, in a temporary file without a name: it goes with the process.

    folder: exists; None for the system's temporary one. The file takes a byte per voxel and class there.
    names: of the classes, in the order of the sums. Voxels that nobody writes are 0. `begin` comes before the first
    `write`.
    """

    def __init__(self, folder: Path | None, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._folder = folder
        self._axis, self._planes = 0, (0, 0, 0)
        self._file: IO[bytes] | None = None

    def __enter__(self) -> ProbabilityFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, shape: Sequence[int], axis: int) -> None:
        """Make the file for a volume [X, Y, Z] whose parts come along `axis`. Raises OutputError."""
        self._axis = axis
        x, y, z = [shape[axis], *(n for a, n in enumerate(shape) if a != axis)]
        self._planes = (x, y, z)
        try:
            self._file = tempfile.TemporaryFile(dir=self._folder, prefix=".umlite-")  # noqa: SIM115
            self._file.truncate(math.prod(shape) * len(self.names))
        except OSError as error:
            raise output_error(error, self._folder or Path("a temporary file")) from error

    def write(self, inside: Box, part: Part) -> None:
        """Add a part of a field whose volume lies at `inside`; it replaces what was there. Raises OutputError."""
        assert part.total is not None
        here, there = [], []
        for origin, count, kept in zip(part.origin, part.total.shape, inside, strict=True):
            first, end = max(origin, kept.start), min(origin + count, kept.stop)
            here.append(slice(first - origin, max(first, end) - origin))
            there.append(slice(first - kept.start, max(first, end) - kept.start))
        weight = part.total[tuple(here)]
        if not weight.numel():
            return
        there.insert(0, there.pop(self._axis))
        covered = weight.clamp_min(torch.finfo(weight.dtype).tiny)
        for number, sums in enumerate(part.sums):
            soft = (sums[tuple(here)] / covered).sigmoid_().masked_fill_(weight == 0, 0)
            # Rounded half way down, since a probability of 0.5 is not present.
            steps = transfer.to_host(soft.mul_(STEPS).sub_(0.5).ceil_().to(torch.uint8)).numpy()
            try:
                self._replace(number, there, np.moveaxis(steps, self._axis, 0))
            except OSError as error:
                raise output_error(error, self._folder or Path("a temporary file")) from error

    def read(self, name: str) -> npt.NDArray[np.uint8]:
        """One class, uint8 [X, Y, Z]. Raises RequestError for a class that is not there."""
        if name not in self.names:
            raise RequestError(f"There are no probabilities of {name!r} here; there are {', '.join(self.names)}.")
        values = self._read(self.names.index(name), 0, self._planes[0]) if math.prod(self._planes) else None
        return np.moveaxis(np.zeros(self._planes, np.uint8) if values is None else values, 0, self._axis)

    def close(self) -> None:
        """Give the space back."""
        if self._file is not None:
            self._file.close()

    def _replace(self, number: int, there: list[slice], steps: npt.NDArray[np.uint8]) -> None:
        assert self._file is not None
        planes, *across = there
        if steps.shape[1:] != self._planes[1:]:
            whole = self._read(number, planes.start, planes.stop)
            whole[:, across[0], across[1]] = steps
            steps = whole
        self._file.seek(self._place(number, planes.start))
        self._file.write(np.ascontiguousarray(steps).data)
        self._file.flush()

    def _read(self, number: int, first: int, end: int) -> npt.NDArray[np.uint8]:
        assert self._file is not None
        self._file.seek(self._place(number, first))
        shape = (end - first, *self._planes[1:])
        return np.frombuffer(self._file.read(math.prod(shape)), np.uint8).reshape(shape).copy()

    def _place(self, number: int, plane: int) -> int:
        return (number * self._planes[0] + plane) * self._planes[1] * self._planes[2]
