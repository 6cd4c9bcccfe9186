"""Whether packs leave the logits of all other classes of a network as they are, on scans or on a phantom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from torch import Tensor

from umlite.api import Segmenter
from umlite.checks.compared_windows import ComparedWindows, check_count
from umlite.errors import RequestError
from umlite.extension.unchanged import Comparison, hash_windows
from umlite.phantom import make_phantom
from umlite.progress import Progress, no_progress
from umlite.request import Request

PHANTOM_SEED, PHANTOM_SPACING_MM = 0, (3.0, 3.0, 3.0)


def check_unchanged(
    load: Callable[[Sequence[Path]], Segmenter],
    packs: Sequence[Path],
    scan: Path | None = None,
    request: Request | None = None,
    *,
    windows: int | None = None,
    progress: Progress = no_progress,
) -> Comparison:
    """Compare all classes of a network, with packs and without them, to the bit.

    Args:
        load: gives the network with some packs. It is called twice, so that one network at a time is in memory.
        packs: those to check.
        scan: a scan whose windows are compared. None: the middle window of a phantom from a seed.
        request: overlap and geometry count.
        windows: number of windows, evenly spread over those that are not constant. None: all of them.
        progress: called with the number of windows done and the number of all windows, of both networks.

    Raises:
        InputError: the scan has nothing to compare.
        RequestError: no packs, or no windows.
    """
    if not packs:
        raise RequestError("Expected packs whose effect on other classes is to be checked, found none.", about="packs")
    check_count(windows)
    asked, base = request or Request(), load(())
    if scan is None:
        phantom = make_phantom(PHANTOM_SEED, PHANTOM_SPACING_MM).image()
        compared, windows = ComparedWindows.of(base, phantom, asked.overlap), 1
    else:
        compared = ComparedWindows.of(base, scan, asked.overlap, force_geometry=asked.force_geometry)
    starts, classes = compared.starts(windows), len(base.classes)

    def read(first: int) -> Iterator[Tensor]:
        for done, start in enumerate(starts, first):
            progress(done, 2 * len(starts))
            yield compared.at(start)

    before = hash_windows(base, classes, read(0))
    del base
    after = hash_windows(load(packs), classes, read(len(starts)))
    progress(2 * len(starts), 2 * len(starts))
    return before.compare(after)
