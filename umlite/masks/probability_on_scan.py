"""The probability of a class on the scan's own grid, a few planes at a time."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from umlite.volume.geometry import index_map
from umlite.volume.preparation import Frame
from umlite.volume.resampling import resample_linear

STEPS = 255
"""A byte stores probability * 255, rounded to the nearest integer: above 127 means above 0.5."""
SLOPE = float(np.nextafter(np.float32(1 / STEPS), np.float32(0)))
"""Scale factor in a file's header: the float32 just below 1 / 255, so that no reader finds a value above 1."""


class ProbabilityOnScan:
    """A uint8 array [X, Y, Z] on the scan's grid whose planes are computed where they are read: [:, :, first:end].

    Values are interpolated trilinearly, and are 0 outside the crop box. Beyond the model's grid its border continues,
    as in `umlite.volume.preparation.restore`.

    Args:
        model: uint8 [X, Y, Z] on the frame's cropped volume.
        frame: the way back to the scan's grid.

    Raises:
        ValueError: an array of another shape.
    """

    def __init__(self, model: npt.NDArray[np.uint8], frame: Frame) -> None:
        if model.shape != frame.shape:
            raise ValueError(f"expected probabilities of shape {frame.shape}, the cropped volume's, got {model.shape}")
        self.shape, self.dtype = frame.scan_shape, np.dtype(np.uint8)
        self._frame, self._model = frame, model
        self._to_model = index_map(frame.stored, frame.model)

    def __getitem__(self, index: tuple[slice, slice, slice]) -> npt.NDArray[np.uint8]:
        """Whole planes of the scan's last axis: [:, :, first:end]."""
        first, end, _ = index[2].indices(self.shape[2])
        frame, size = self._frame, list(self._frame.stored.shape)
        axis = frame.axes.index(2)
        size[axis] = max(end - first, 0)
        planes = self._planes(axis, first, (size[0], size[1], size[2]))
        return planes.transpose([frame.axes.index(a) for a in range(3)])

    def _planes(self, axis: int, first: int, size: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
        """Voxels of the stored grid from plane `first` along `axis`, in its order of axes."""
        if not self._model.size or 0 in size:
            return np.zeros(size, np.uint8)
        shift = np.eye(4)
        shift[axis, 3] = first
        to_model = self._to_model @ shift
        box, low = self._box(to_model, size)
        if any(s.stop <= s.start for s in box):
            return np.zeros(size, np.uint8)
        source = self._bordered(box)
        to_source = to_model.copy()
        to_source[:3, 3] -= low
        values = resample_linear(source, to_source, size)
        return values.add(0.5).floor_().clamp_(0, STEPS).to(torch.uint8).numpy()

    def _box(self, to_model: npt.NDArray[np.float64], size: tuple[int, int, int]) -> tuple[list[slice], list[int]]:
        """The part of the cropped volume that these voxels read, and the model's index one voxel before it."""
        corners = np.array([[*c, 1] for c in itertools.product(*((0, n - 1) for n in size))]).T
        reached = (to_model @ corners)[:3]
        box, low = [], []
        for axis in range(3):
            start, count = self._frame.start[axis], self._model.shape[axis]
            begin = int(np.floor(reached[axis].min())) - start - 1
            stop = int(np.ceil(reached[axis].max())) - start + 2
            # Beyond the border the nearest voxel counts, so the box keeps at least one voxel at that end.
            piece = slice(min(max(begin, 0), count - 1), max(min(stop, count), 1))
            box.append(piece)
            low.append(start + piece.start - 1)
        return box, low

    def _bordered(self, box: list[slice]) -> torch.Tensor:
        """The box as float32 with a border of one voxel: 0 where the crop box ends, else the nearest value."""
        part = torch.from_numpy(np.ascontiguousarray(self._model[tuple(box)])).float()
        padded = F.pad(part[None, None], [1] * 6, mode="replicate")[0, 0]
        for axis, piece in enumerate(box):
            at_crop = (
                piece.start == 0 and self._frame.start[axis] > 0,
                piece.stop == self._model.shape[axis] and self._frame.stop[axis] < self._frame.model.shape[axis],
            )
            for place, cut in zip((0, -1), at_crop, strict=True):
                if cut:
                    padded.select(axis, place).zero_()
        return padded
