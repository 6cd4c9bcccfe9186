"""What a scan's header tells about the cost of its run, before any voxel is read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from umlite.cost.memory import RunShapes, SumsLayout, step_bytes
from umlite.errors import InputError
from umlite.volume.geometry import spacing_of
from umlite.volume.reading import header_of
from umlite.windows import count_windows

if TYPE_CHECKING:
    from umlite.dicom.series import Series
    from umlite.volume.header import Header
    from umlite.weights.model_card import ModelCard

_MOST_BYTES_PER_VOXEL = 4


def outlook(source: Path | Series, card: ModelCard) -> RunShapes | None:
    """The largest sizes that a scan's run can have: as if its foreground filled it. None where no header can be read.

    Args:
        source: a file, or a series.
        card: of the weights: spacing and window.
    """
    try:
        header = read_header(source)
    except InputError:
        return None
    spacing: Sequence[float] = [float(mm) for mm in spacing_of(header.affine)]
    sides = [max(1, math.ceil(n * mm / to)) for n, mm, to in zip(header.shape, spacing, card.spacing_mm, strict=True)]
    model = (sides[0], sides[1], sides[2])
    return RunShapes(header.shape, _MOST_BYTES_PER_VOXEL, _MOST_BYTES_PER_VOXEL, model, model, card.window)


def read_header(source: Path | Series) -> Header:
    """The header of a file or of a series. Raises InputError."""
    from umlite.dicom.reading import open_series
    from umlite.dicom.series import Series

    return open_series(source).header if isinstance(source, Series) else header_of(source)


def most_bytes(shapes: RunShapes, classes: int, layout: SumsLayout) -> int:
    """The most memory that a scan of these sizes takes beside the process and its network."""
    return max(step_bytes(shapes, classes, layout).values())


def windows_of(shapes: RunShapes, overlap: float) -> int:
    """Windows in the grid of a scan of these sizes."""
    return count_windows(shapes.volume, shapes.window, overlap)
