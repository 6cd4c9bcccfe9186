"""How much memory a run takes, from shapes alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from umlite.classes import word_bytes
from umlite.models.config import HeadConfig
from umlite.volume.preparation import Volume
from umlite.volume.reading import Scan
from umlite.windows import Size, padded_shape, streaming_axis

BOX_SHARE = 0.25
"""Share of the volume inside the box around a large organ: post-processing labels one such box at a time."""


@dataclass(frozen=True)
class RunShapes:
    """The sizes that the memory of a run depends on.

    Args:
        scan: shape of the scan.
        hu_bytes: bytes of a voxel in memory, 2 or 4; 0 if only a few planes at a time are read.
        stored_bytes: bytes of a voxel in the file; 0 likewise.
        model: shape of the resampled grid.
        volume: shape of the foreground in it.
        window: sides of the weights' window.
    """

    scan: Size
    hu_bytes: int
    stored_bytes: int
    model: Size
    volume: Size
    window: Size

    @classmethod
    def of(cls, scan: Scan, volume: Volume, window: Size) -> RunShapes:
        """The sizes of a scan and of the volume prepared from it."""
        kept, stored = (scan.voxels.dtype.itemsize, scan.stored_bytes) if scan.is_held else (0, 0)
        return cls(scan.shape, kept, stored, volume.frame.model.shape, volume.frame.shape, window)

    @property
    def seen_bytes(self) -> int:
        """Bytes of the volume, and of its padded copy if there is one."""
        volume, padded = math.prod(self.volume), math.prod(self.padded)
        return 4 * volume + (4 * padded if padded != volume else 0)

    @property
    def padded(self) -> Size:
        """The volume as the windows see it."""
        return padded_shape(self.volume, self.window)

    def slab(self, thickness: float = 1.0) -> int:
        """Voxels of a slab that is `thickness` windows thick along the streaming axis."""
        axis = streaming_axis(self.padded, self.window)
        sides = list(self.padded)
        sides[axis] = min(sides[axis], math.ceil(self.window[axis] * thickness))
        return math.prod(sides)


@dataclass(frozen=True)
class SumsLayout:
    """How a run keeps its sums.

    Args:
        thickness: of the slab, in windows.
        more: channels beside the classes.
        on_host: False if the sums are in a GPU's memory.
        reused: whether some windows are constant, so that their logits are kept.
    """

    thickness: float = 1.0
    more: int = 0
    on_host: bool = True
    reused: bool = False


ALL_WINDOWS = SumsLayout()
ADAPTIVE = SumsLayout(thickness=2.5, more=1)


def step_bytes(shapes: RunShapes, classes: int, layout: SumsLayout = ALL_WINDOWS) -> dict[str, int]:
    """Peak memory of each step of a run, without the process and its network.

    A scan in memory stays there from reading to the end. Masks stay on the model's grid and are written a few planes at
    a time.

    Args:
        shapes: the sizes of the run.
        classes: number of classes that are computed, hosts included.
        layout: how sums are kept.

    Returns:
        Bytes by step.
    """
    scan, model, volume = (math.prod(shape) for shape in (shapes.scan, shapes.model, shapes.volume))
    padded, window = math.prod(shapes.padded), math.prod(shapes.window)
    bits = sum(word_bytes(classes))
    hu = shapes.hu_bytes * scan
    sums = 0
    if layout.on_host:
        decided = bits * shapes.slab(0.5)
        sums = 4 * (classes + layout.more) * shapes.slab(layout.thickness) + decided
        sums += 4 * classes * window if layout.reused else 0
    return {
        "read": hu if shapes.stored_bytes == shapes.hu_bytes else hu + shapes.stored_bytes * scan,
        "prepare": hu + 4 * model + 4 * volume,
        "windows": hu + shapes.seen_bytes + sums + bits * padded,
        "postprocess": hu + 2 * bits * volume + int(5 * BOX_SHARE * volume),
        "write": hu + bits * volume,
    }


def added_bytes(head: HeadConfig, asked: int) -> int:
    """Bytes of controllers of added classes: all of them in the network, and copies of those that are asked for."""
    return 4 * (head.added + asked) * head.parameters * (head.gap_width + 1)


def peak_bytes(process: int, each_class: int, shapes: RunShapes, classes: int, layout: SumsLayout = ALL_WINDOWS) -> int:
    """Largest resident set of a run in bytes.

    Args:
        process: measured bytes of the process with its network and the memory of a window.
        each_class: measured further bytes for each class (`umlite.cost.calibration`).
        shapes: the sizes of the run, from which the rest is counted.
        classes: number of classes that are computed, hosts included.
        layout: how sums are kept.
    """
    return process + each_class * classes + max(step_bytes(shapes, classes, layout).values())


def vram_bytes(workspace: int, shapes: RunShapes, classes: int, layout: SumsLayout = ALL_WINDOWS) -> tuple[int, int]:
    """GPU memory that the windows of a run take, in bytes.

    Resampling happens before and is not counted: it moves to the host if the GPU has no room.

    Args:
        workspace: measured bytes of the network and a batch of windows.
        shapes: the sizes of the run.
        classes: number of classes that are computed, hosts included.
        layout: how sums are kept.

    Returns:
        Bytes with the sums on the GPU, and bytes with the sums on the host.
    """
    least = workspace + shapes.seen_bytes
    return least + 4 * (classes + layout.more) * shapes.slab(layout.thickness), least
