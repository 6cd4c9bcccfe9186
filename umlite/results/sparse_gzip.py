"""Fast gzip for data that is mostly zeros: a run of zeros is compressed once and its bytes are used again.

After a full flush nothing in a deflate stream refers back, so compressed bytes of equal blocks can be repeated. The
checksum after a run of zeros is a linear map of the checksum before it. The result is one plain gzip member.
"""

from __future__ import annotations

import functools
import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"
"""Deflate, no name, no time, fastest level, unknown system, so that equal data give equal bytes."""
_ZEROS_LEVEL = 9
"""A run is compressed only once, so its size matters more than the time: it is a quarter of level 1's."""


class SparseGzip:
    """Writes one gzip member to a binary stream. `close` completes it and leaves the stream open.

    Source: RFC 1951 and RFC 1952.

    Args:
        stream: written to; its errors are passed on.
        level: zlib's level of compression.
    """

    def __init__(self, stream: BinaryIO, level: int) -> None:
        self._stream = stream
        self._packer = _packer(level)
        self._checksum = self._size = 0
        stream.write(_HEADER)

    def write(self, block: bytes) -> None:
        """Append a block. Large blocks compress best."""
        self._stream.write(self._packer.compress(block) + self._packer.flush(zlib.Z_FULL_FLUSH))
        self._checksum = zlib.crc32(block, self._checksum)
        self._size += len(block)

    def write_zeros(self, count: int) -> None:
        """Append `count` zero bytes. This is fast if the same number occurs again and again."""
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
    """A compressed run of zeros.

    Args:
        packed: its deflate bytes.
        from_zero: the checksum after the run if it was 0 before.
        flips: how each bit of the checksum before the run changes the one after it.
    """

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
