"""A volume laid out for windows: padded, on the engine's device, with the order of its windows."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from umlite.engines.engine import Engine
from umlite.gpu import transfer
from umlite.masks.bitmask import Box
from umlite.windows import Size, pad_to_window, streaming_axis, window_grid


@dataclass(frozen=True, eq=False)
class Field:
    """A volume as a sweep sees it.

    voxels: [X, Y, Z] float32 on the engine's device, contiguous, zero-padded to at least a window.
    inside: where the volume itself lies in `voxels`. starts: first voxels of all windows, in their order.
    axis: along which the windows stream; they are ordered along it first.
    """

    voxels: Tensor
    inside: Box
    starts: list[Size]
    axis: int

    @property
    def shape(self) -> Size:
        x, y, z = self.voxels.shape
        return x, y, z


def lay_out(engine: Engine, voxels: Tensor, overlap: float) -> Field:
    """The field of a volume [X, Y, Z] float32 in [0, 1], not empty. Raises RequestError unless 0 <= overlap < 1."""
    window = engine.card.window
    padded, inside = pad_to_window(transfer.to_device(voxels, engine.setup.device), window)
    x, y, z = padded.shape
    axis = streaming_axis((x, y, z), window)
    return Field(padded.contiguous(), inside, window_grid((x, y, z), window, overlap, axis), axis)
