"""The voxels of a report: one picture of tones and one of masks for each stored plane, as small as a budget asks."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from umlite.machine.in_threads import in_threads
from umlite.machine.threads import available_threads
from umlite.masks.bitmask import BitMask
from umlite.masks.class_sets import number_sets
from umlite.masks.on_scan import MasksOnScan
from umlite.products.report.tones import Tones
from umlite.volume.reading import Scan

BUDGET_BYTES = 13_500_000
"""Most bytes of a page's pictures, so that the page stays under 15 MB."""
MOST_VOXELS = 96_000_000
"""Most voxels of a page: a browser keeps two bytes for each."""
QUALITY, EFFORT = 75, 2
"""Settings of WebP. More effort made slices of a real abdomen 3 % smaller and took twice as long."""
MOST_SETS = 1 << 16
_SAMPLES = 9
_LEAST_PIXELS = 32
_BASE64 = 4 / 3
_SLAB_VOXELS = 1 << 22

Picture = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True)
class PicturePair:
    """One stored plane as base64 of WebP. tones: lossy. masks: lossless, as of `Patterns`; empty where no mask is."""

    tones: str
    masks: str


class Patterns:
    """Numbers for the sets of classes that overlap somewhere: a picture of numbers holds all masks at once.

    Number 0 is "no class". The picture's red channel has the high byte of a number, the green channel the low byte.
    Masks of organs have some hundred sets. Those of noise may have more than there are numbers: what comes then is
    painted as its uppermost class alone.

    Args:
        order: class names in the order in which they are painted: bit k of a set belongs to order[k].
    """

    def __init__(self, order: Sequence[str]) -> None:
        self._order = tuple(order)
        self._numbers = {0: 0} | {1 << k: k + 1 for k in range(len(self._order))}

    @property
    def sets(self) -> list[int]:
        """The set of classes that each number stands for, as bits of painting order."""
        return list(self._numbers)

    def picture(self, masks: BitMask) -> npt.NDArray[np.uint8]:
        """Numbers of a plane [X, Y, 1], as an RGB picture [Y, X, 3]."""
        upright = masks.mapped(lambda word: word.transpose(1, 0, 2))
        inside = upright.any()
        sets, which = number_sets(upright, inside)
        places = [self._order.index(name) for name in masks.names]
        numbers = np.zeros(inside.shape[:2], np.uint16)
        numbers[inside[:, :, 0]] = np.array([self._number(held, places) for held in sets], np.uint16)[which]
        return np.stack([numbers >> 8, numbers & 255, np.zeros_like(numbers)], axis=2).astype(np.uint8)

    def _number(self, held: npt.NDArray[np.bool_], places: Sequence[int]) -> int:
        here = sum(1 << places[k] for k in np.flatnonzero(held).tolist())
        if here not in self._numbers and len(self._numbers) == MOST_SETS:
            here = 1 << (here.bit_length() - 1)
        return self._numbers.setdefault(here, len(self._numbers))


def choose_size(scan: Scan, tones: Tones, budget_bytes: int = BUDGET_BYTES) -> Picture:
    """Pixels of each picture: those of the scan's planes, or as many as the budget allows. Some slices are tried out.

    Raises:
        InputError: the scan cannot be read again.
    """
    samples = list(_samples(scan, tones))
    x, y, z = scan.shape
    share = min(1.0, math.sqrt(MOST_VOXELS / (x * y * z)))
    for _ in range(4):
        size = _scaled((x, y), share)
        bytes_ = sum(len(_webp(_resized(sample, size))) for sample in samples) / len(samples) * z * _BASE64
        if bytes_ <= budget_bytes:
            break
        share *= 0.98 * math.sqrt(budget_bytes / bytes_)  # a smaller picture has more to tell in each pixel
    return _scaled((x, y), share)


def pictures(scan: Scan, masks: MasksOnScan, tones: Tones, size: Picture, patterns: Patterns) -> Iterator[PicturePair]:
    """Every stored plane, the first one first. A few planes are in memory at a time.

    Raises:
        InputError: the scan cannot be read again.
    """
    planes = max(1, _SLAB_VOXELS // (scan.shape[0] * scan.shape[1]))
    columns, rows = (_nearest(n, kept) for n, kept in zip(scan.shape[:2], size, strict=True))
    threads, _ = available_threads()
    for hu, slab in zip(scan.slabs(planes), masks.slabs(planes), strict=True):
        numbers = []
        for k in range(hu.shape[2]):
            plane = slab.part(np.ix_(columns, rows, np.array([k])))
            numbers.append(patterns.picture(plane) if plane.any().any() else None)

        def pair(k: int, hu: np.ndarray = hu, drawn: list[npt.NDArray[np.uint8] | None] = numbers) -> PicturePair:
            grey, masks = _webp(_resized(tones.of(hu[:, :, k]).T, size)), drawn[k]
            return PicturePair(_base64(grey), "" if masks is None else _base64(_lossless(masks)))

        yield from in_threads(pair, range(hu.shape[2]), threads)


def _samples(scan: Scan, tones: Tones) -> Iterator[npt.NDArray[np.uint8]]:
    n = scan.shape[2]
    wanted = sorted({int((i + 0.5) * n / _SAMPLES) for i in range(_SAMPLES)})
    first = 0
    for slab in scan.slabs():
        for k in wanted:
            if first <= k < first + slab.shape[2]:
                yield tones.of(slab[:, :, k - first]).T
        first += slab.shape[2]


def _scaled(size: Picture, share: float) -> Picture:
    width, height = (min(n, max(round(n * share), _LEAST_PIXELS)) for n in size)
    return width, height


def _nearest(count: int, kept: int) -> npt.NDArray[np.intp]:
    """The voxels under the centres of `kept` pixels, as a browser finds them too."""
    return ((np.arange(kept) + 0.5) * count / kept).astype(np.intp)


def _resized(tones: npt.NDArray[np.uint8], size: Picture) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(tones))
    return picture if picture.size == size else picture.resize(size, Image.Resampling.BOX)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _webp(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="WEBP", quality=QUALITY, method=EFFORT)
    return file.getvalue()


def _lossless(picture: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="WEBP", lossless=True, quality=50, method=2)
    return file.getvalue()
