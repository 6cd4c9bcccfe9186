"""Where the fragments of compressed pixels lie in a file. Source: PS3.5, annex A.4."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

_MOST_FRAGMENTS = 1 << 16
_ITEM = b"\xfe\xff\x00\xe0"


class Readable(Protocol):
    """Bytes that are read by place and length."""

    def read(self, start: int, length: int) -> bytes: ...


def fragment_places(source: Readable, at: int) -> Iterator[tuple[int, int]]:
    """First byte and stated length of each fragment behind the table of offsets, which begins at byte `at`."""
    for number in range(_MOST_FRAGMENTS):
        mark = source.read(at, 8)
        length = int.from_bytes(mark[4:8], "little")
        if mark[:4] != _ITEM:
            return
        if number:
            yield at + 8, length
        at += 8 + length
