"""Whether packs leave the logits of all other classes of a network as they are, on scans or on a phantom."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from umlite.api import Segmenter
from umlite.checks.verification import spread_evenly
from umlite.errors import InputError, RequestError
from umlite.extension.unchanged import Comparison, compare_windows
from umlite.phantom import make_phantom
from umlite.progress import Progress, no_progress
from umlite.request import Request
from umlite.sweep.runner import constant_windows
from umlite.windows import pad_to_window, window_at, window_grid

PHANTOM_SEED, PHANTOM_SPACING_MM = 0, (3.0, 3.0, 3.0)


def check_unchanged(
    base: Segmenter,
    extended: Segmenter,
    scan: Path | None = None,
    request: Request | None = None,
    *,
    windows: int | None = None,
    progress: Progress = no_progress,
) -> Comparison:
    """Compare all classes of a network, with packs and without them, to the bit.

    Args:
        base: the network.
        extended: the same with packs.
        scan: a scan whose windows are compared. None: the middle window of a phantom from a seed.
        request: overlap and geometry count.
        windows: number of windows, evenly spread over those that are not constant. None: all of them.
        progress: called with the number of windows done and the number of all windows.

    Raises:
        InputError: the scan has nothing to compare.
        RequestError: no packs, or no windows.
    """
    if not extended.packs:
        raise RequestError("Expected packs whose effect on other classes is to be checked, found none.", about="packs")
    if windows is not None and windows < 1:
        raise RequestError(f"Expected at least 1 window to compare, found {windows}.", about="sample")
    asked = request or Request()
    if scan is None:
        source, windows = make_phantom(PHANTOM_SEED, PHANTOM_SPACING_MM).image(), 1
        volume = base.prepare(source).volume
    else:
        volume = base.prepare(scan, force_geometry=asked.force_geometry).volume
    if volume.is_empty:
        raise InputError(f"{scan} has nothing above {base.card.hu_range[0]:g} HU, so there is nothing to compare.")
    padded, _ = pad_to_window(volume.voxels, base.card.window)
    grid = window_grid((padded.shape[0], padded.shape[1], padded.shape[2]), base.card.window, asked.overlap)
    constant = constant_windows(padded, base.card.window, asked.overlap)
    varied = [start for start in grid if start not in constant] or grid
    starts = varied if windows is None else spread_evenly(varied, windows)

    def read() -> Iterator[Tensor]:
        for done, start in enumerate(starts):
            progress(done, len(starts))
            yield padded[window_at(start, base.card.window)]
        progress(len(starts), len(starts))

    return compare_windows(base, extended, read())
