"""A volume with some of its classes at a time: less memory for sums, and the windows run for each part of the classes.

A class's sums do not depend on the other classes, so the masks are those of `decide_volume`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from umlite.engines.engine import Engine
from umlite.masks.bitmask import BitMask
from umlite.progress import Progress, no_progress
from umlite.sweep.lesion_logits import LesionLogits
from umlite.sweep.runner import WindowCounts
from umlite.sweep.sweep import decide_volume


def decide_in_parts(
    parts: int,
    engine: Engine,
    voxels: Tensor,
    classes: Sequence[int],
    names: Sequence[str],
    overlap: float,
    progress: Progress = no_progress,
    lesion_logits: LesionLogits | None = None,
) -> tuple[BitMask, WindowCounts]:
    """Masks of a volume from all windows.

    Args:
        parts: how many the classes are divided into, if there are as many.
        engine, voxels, classes, names, overlap, progress, lesion_logits: see `decide_volume`.

    Returns:
        Masks [X, Y, Z], and the counts of windows of all parts together.

    Raises:
        RequestError, DeviceError, WeightsError: see `decide_volume`.
    """
    parts = min(parts, len(names))
    bits = BitMask.zeros(voxels.shape, names)
    run = reused = total = 0
    for number in range(parts):
        chosen = slice(number * len(names) // parts, (number + 1) * len(names) // parts)

        def among_all(done: int, windows: int, number: int = number) -> None:
            progress(number * windows + done, parts * windows)

        found, counts, _ = decide_volume(
            engine, voxels, classes[chosen], names[chosen], overlap, among_all, None, lesion_logits
        )
        for name in found.names:
            bits.set_mask(name, found.mask(name))
        run, reused, total = run + counts.run, reused + counts.reused, total + counts.total
    return bits, WindowCounts(run, reused, total)
