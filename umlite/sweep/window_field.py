"""A volume ready for windows: padded, on the engine's device, with the order of its windows."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from umlite.engines.engine import Engine
from umlite.gpu import transfer
from umlite.masks.bitmask import Box
from umlite.windows import Size, pad_to_window, streaming_axis, window_grid


@dataclass(frozen=True, eq=False)
class WindowField:
    """A volume as a sweep sees it.

    Args:
        voxels: [X, Y, Z] float32 on the engine's device, contiguous, zero-padded to at least a window.
        inside: the box of `voxels` that holds the volume itself.
        starts: first voxels of all windows, in the order in which they run.
        axis: axis along which windows stream; they are sorted along it first.
    """

    voxels: Tensor
    inside: Box
    starts: list[Size]
    axis: int

    @property
    def shape(self) -> Size:
        """Shape of `voxels`, padding included."""
        x, y, z = self.voxels.shape
        return x, y, z


def lay_out_windows(engine: Engine, voxels: Tensor, overlap: float) -> WindowField:
    """Pad a volume, bring it to the engine's device and lay its windows.

    Args:
        engine: gives the device and the size of a window.
        voxels: [X, Y, Z] float32 in [0, 1], not empty.
        overlap: of neighbouring windows, 0 <= overlap < 1.

    Raises:
        RequestError: an overlap out of range.
    """
    window = engine.card.window
    padded, inside = pad_to_window(transfer.to_device(voxels, engine.setup.device), window)
    x, y, z = padded.shape
    axis = streaming_axis((x, y, z), window)
    return WindowField(padded.contiguous(), inside, window_grid((x, y, z), window, overlap, axis), axis)
