"""The voxels of a series: decoded by a few threads, held where they are few, else read slab by slab."""

from __future__ import annotations

import itertools
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from umlite.dicom.frames import Frame
from umlite.dicom.library import quietly
from umlite.dicom.pixels import check_syntax, read_hu
from umlite.dicom.spacing import Plan, Plane
from umlite.errors import InputError
from umlite.machine.threads import available_threads
from umlite.volume.geometry import Size
from umlite.volume.values import Counter, Ends, Values
from umlite.volume.voxels import HELD_BYTES, HeldVoxels, Voxels

_MOST_THREADS = 8


@dataclass(frozen=True, eq=False)
class SeriesVoxels:
    """Voxels in the files of a series that were all read once.

    frames, planes: of the stack and of the volume. kind: of the HU. found: least, greatest and distribution. checksums:
    CRC-32 of each frame's HU.
    """

    frames: tuple[Frame, ...]
    planes: tuple[Plane, ...]
    kind: np.dtype
    found: Values
    checksums: tuple[int, ...]

    @property
    def shape(self) -> Size:
        pixels = self.frames[0].pixels
        return pixels.columns, pixels.rows, len(self.planes)

    @property
    def dtype(self) -> np.dtype:
        return self.kind

    @property
    def is_held(self) -> bool:
        return False

    def ends(self) -> Ends:
        return self.found.low, self.found.high

    def values(self) -> Values:
        return self.found

    def whole(self) -> np.ndarray:
        return _assemble(self.frames, self.planes, self.kind, self.checksums)

    def slabs(self, planes: int) -> Iterator[np.ndarray]:
        for first in range(0, len(self.planes), planes):
            yield _assemble(self.frames, self.planes[first : first + planes], self.kind, self.checksums)


def series_voxels(frames: Sequence[Frame], plan: Plan) -> Voxels:
    """Read every plane once: held where all are at most HELD_BYTES. Raises InputError."""
    check_syntax(frames[0])
    pixels = frames[0].pixels
    kind, checksums = np.dtype(np.int16), []
    counter = Counter((pixels.columns, pixels.rows, len(frames)))
    held = 2 * pixels.rows * pixels.columns * len(plan.planes) <= HELD_BYTES
    kept = np.empty((len(frames) if held else 0, pixels.rows, pixels.columns), kind)
    for number, hu in enumerate(_decoded(frames)):
        kind = np.promote_types(kind, hu.dtype)
        counter.add(hu.T[:, :, None])
        if held:
            kept = kept.astype(kind, copy=False)
            kept[number] = hu
        else:
            checksums.append(_checksum(hu))
    if not held:
        return SeriesVoxels(tuple(frames), plan.planes, kind, Values(*counter.ends, counter.counts), tuple(checksums))
    if plan.is_filled:
        return HeldVoxels(_blend(dict(enumerate(kept)), plan.planes, kind))
    return HeldVoxels(kept.transpose(2, 1, 0))


def _assemble(frames: Sequence[Frame], planes: Sequence[Plane], kind: np.dtype, checksums: Sequence[int]) -> np.ndarray:
    """Some planes of the volume, [X, Y, planes] in Fortran order, read anew."""
    wanted = sorted({index for plane in planes for index in (plane.first, plane.second)})
    decoded = {}
    for index, hu in zip(wanted, _decoded([frames[i] for i in wanted]), strict=True):
        if _checksum(hu) != checksums[index]:
            raise InputError(
                f"{frames[index].name} changed while it was read: expected the same pixels as at first. Wait until the "
                f"series is complete, then start again."
            )
        decoded[index] = hu
    return _blend(decoded, planes, kind)


def _blend(decoded: dict[int, np.ndarray], planes: Sequence[Plane], kind: np.dtype) -> np.ndarray:
    shape = next(iter(decoded.values())).shape
    volume = np.empty((len(planes), *shape), kind)
    for target, plane in zip(volume, planes, strict=True):
        first, second = decoded[plane.first], decoded[plane.second]
        if plane.share == 0:
            target[:] = first
        else:
            mixed = (1 - plane.share) * first + plane.share * second
            target[:] = np.rint(mixed) if kind.kind == "i" else mixed
    return volume.transpose(2, 1, 0)


def _decoded(frames: Sequence[Frame]) -> Iterator[np.ndarray]:
    """The HU of planes, in their order, a few in advance."""
    threads = min(_MOST_THREADS, available_threads()[0])
    with ThreadPoolExecutor(threads, thread_name_prefix="umlite-dicom") as pool:
        coming = iter(frames)
        waiting = deque(pool.submit(_read, frame) for frame in itertools.islice(coming, 2 * threads))
        try:
            while waiting:
                hu = waiting.popleft().result()
                waiting.extend(pool.submit(_read, frame) for frame in itertools.islice(coming, 1))
                yield hu
        finally:
            for future in waiting:
                future.cancel()


def _read(frame: Frame) -> np.ndarray:
    with quietly():
        return read_hu(frame)


def _checksum(hu: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(hu).data)
