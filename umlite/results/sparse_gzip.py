"""A gzip file of data that is mostly zeros: each block is packed by itself, and a run of zeros is packed once for all.

Deflate may be cut where nothing refers back (a full flush), so the packed bytes of equal blocks can be repeated. The
checksum after a run of zeros is a linear map of the one before it. The result is one plain gzip member.
"""

from __future__ import annotations

import functools
import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"
"""Deflate, no name, no time, fastest level, unknown system: equal data give equal bytes."""
_ZEROS_LEVEL = 9
"""A run is packed once, so its size is what counts: a quarter of level 1's."""


class SparseGzip:
    """Writes one gzip member to a binary stream. `close` completes it; the stream stays open.

    level: zlib's. Errors are the stream's own. Source: RFC 1951 and RFC 1952.
    """

    def __init__(self, stream: BinaryIO, level: int) -> None:
        self._stream = stream
        self._packer = _packer(level)
        self._checksum = self._size = 0
        stream.write(_HEADER)

    def write(self, block: bytes) -> None:
        """Append a block; large ones pack best."""
        self._stream.write(self._packer.compress(block) + self._packer.flush(zlib.Z_FULL_FLUSH))
        self._checksum = zlib.crc32(block, self._checksum)
        self._size += len(block)

    def write_zeros(self, count: int) -> None:
        """Append that many zero bytes; fast where the same number comes again and again."""
        zeros = _zeros(count)
        self._stream.write(zeros.packed)
        self._checksum = zeros.checksum_after(self._checksum)
        self._size += count

    def close(self) -> None:
        """Write the end of the member."""
        end = self._packer.flush(zlib.Z_FINISH)
        self._stream.write(end + struct.pack("<II", self._checksum, self._size & 0xFFFFFFFF))


@dataclass(frozen=True)
class _Zeros:
    """packed: a run of zeros, deflated. from_zero: the run's checksum; flips: what each bit before changes in it."""

    packed: bytes
    from_zero: int
    flips: tuple[int, ...]

    def checksum_after(self, checksum: int) -> int:
        after = self.from_zero
        for bit, flip in enumerate(self.flips):
            if checksum >> bit & 1:
                after ^= flip
        return after


@functools.lru_cache(maxsize=8)
def _zeros(count: int) -> _Zeros:
    run = bytes(count)
    packer = _packer(_ZEROS_LEVEL)
    from_zero = zlib.crc32(run)
    flips = tuple(zlib.crc32(run, 1 << bit) ^ from_zero for bit in range(32))
    return _Zeros(packer.compress(run) + packer.flush(zlib.Z_FULL_FLUSH), from_zero, flips)


def _packer(level: int) -> zlib._Compress:
    return zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
