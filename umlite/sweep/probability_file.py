"""Probabilities of a volume on disk, one byte per voxel and class. Only one class at a time is in memory."""

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
    """Sigmoids of blended logits as uint8, in a temporary file without a name that disappears with the process.

    Call `begin` before the first `write`. Voxels that are never written are 0.

    Args:
        folder: existing folder for the file, which takes one byte per voxel and class; None for the system's own.
        names: class names in the order of the sums.
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
        """Create the file for a volume [X, Y, Z] whose parts come along `axis`.

        Raises:
            OutputError: there is no room for it.
        """
        self._axis = axis
        x, y, z = [shape[axis], *(n for a, n in enumerate(shape) if a != axis)]
        self._planes = (x, y, z)
        try:
            self._file = tempfile.TemporaryFile(dir=self._folder, prefix=".umlite-")  # noqa: SIM115
            self._file.truncate(math.prod(shape) * len(self.names))
        except OSError as error:
            raise output_error(error, self._folder or Path("a temporary file")) from error

    def write(self, inside: Box, part: Part) -> None:
        """Write the probabilities of a part over whatever the file held there.

        Args:
            inside: the box of the field that holds the volume.
            part: sums with their `total`.

        Raises:
            OutputError: the file cannot be written.
        """
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
            # Halves are rounded down, since a voxel with probability 0.5 is not in the mask.
            steps = transfer.to_host(soft.mul_(STEPS).sub_(0.5).ceil_().to(torch.uint8)).numpy()
            try:
                self._replace(number, there, np.moveaxis(steps, self._axis, 0))
            except OSError as error:
                raise output_error(error, self._folder or Path("a temporary file")) from error

    def read(self, name: str) -> npt.NDArray[np.uint8]:
        """Probabilities of one class, uint8 [X, Y, Z].

        Raises:
            RequestError: the file does not hold this class.
        """
        if name not in self.names:
            raise RequestError(f"No probabilities of {name!r} were kept, only of {', '.join(self.names)}.")
        values = self._read(self.names.index(name), 0, self._planes[0]) if math.prod(self._planes) else None
        return np.moveaxis(np.zeros(self._planes, np.uint8) if values is None else values, 0, self._axis)

    def close(self) -> None:
        """Delete the file."""
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
