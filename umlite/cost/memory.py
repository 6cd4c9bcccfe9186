"""How much memory a run takes, from shapes alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from umlite.classes import mask_bytes
from umlite.windows import Size, padded_shape, streaming_axis

BOX_SHARE = 0.25
"""Of the volume that the box around one class holds, which post-processing labels: a large organ's."""


@dataclass(frozen=True)
class RunShapes:
    """What the memory of a run depends on.

    scan: voxels of the scan. hu_bytes: of a voxel as it is kept, 2 or 4; stored_bytes: of one in the file. Both are 0
    where a few planes at a time are read.
    model: the resampled grid. volume: the foreground in it. window: of the weights.
    """

    scan: Size
    hu_bytes: int
    stored_bytes: int
    model: Size
    volume: Size
    window: Size

    @property
    def seen_bytes(self) -> int:
        """Of the volume, and of the padded one where it is another."""
        volume, padded = math.prod(self.volume), math.prod(self.padded)
        return 4 * volume + (4 * padded if padded != volume else 0)

    @property
    def padded(self) -> Size:
        """The volume as the windows see it."""
        return padded_shape(self.volume, self.window)

    def slab(self, thickness: float = 1.0) -> int:
        """Voxels of the part of the volume that sums are kept of, so many windows thick along the streaming axis."""
        axis = streaming_axis(self.padded, self.window)
        sides = list(self.padded)
        sides[axis] = min(sides[axis], math.ceil(self.window[axis] * thickness))
        return math.prod(sides)


@dataclass(frozen=True)
class SumsLayout:
    """How a run keeps its sums. thickness: of the slab, in windows. more: channels beside the classes.

    on_host: False where they are in a GPU's memory. reused: whether some windows are constant, so that an answer is
    kept for them.
    """

    thickness: float = 1.0
    more: int = 0
    on_host: bool = True
    reused: bool = False


ALL_WINDOWS = SumsLayout()
ADAPTIVE = SumsLayout(thickness=2.5, more=1)


def step_bytes(shapes: RunShapes, classes: int, layout: SumsLayout = ALL_WINDOWS) -> dict[str, int]:
    """Bytes that a run holds at its fullest in each step, without the process and its network.

    classes: computed, hosts included. A scan that is kept stays from reading to the end; masks stay on the model's grid
    and are written a few planes at a time.
    """
    scan, model, volume = (math.prod(shape) for shape in (shapes.scan, shapes.model, shapes.volume))
    padded, window = math.prod(shapes.padded), math.prod(shapes.window)
    bits = mask_bytes(classes)
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


def peak_bytes(process: int, each_class: int, shapes: RunShapes, classes: int, layout: SumsLayout = ALL_WINDOWS) -> int:
    """Largest resident set of a run in bytes.

    process: of the process with its network and what a window needs; each_class: further, for each class.
    Both are measured, `umlite.cost.calibration`; the rest is counted.
    """
    return process + each_class * classes + max(step_bytes(shapes, classes, layout).values())


def vram_bytes(workspace: int, shapes: RunShapes, classes: int, layout: SumsLayout = ALL_WINDOWS) -> tuple[int, int]:
    """Bytes of a GPU that the windows of a run take, with its sums there and with its sums on the host.

    workspace: of the network and a batch of windows, measured. A scan is resampled there before, where it fits.
    """
    least = workspace + shapes.seen_bytes
    return least + 4 * (classes + layout.more) * shapes.slab(layout.thickness), least
