"""The bytes of a file, unpacked where its content is a gzip: in little memory, damage told by its own errors."""

from __future__ import annotations

import io
import math
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from umlite.errors import InputError

_GZIP = b"\x1f\x8b"
_GZIP_MOST_RATIO = 1040
_RAW = 1 << 18
_BLOCK = 1 << 22

Notify = Callable[[str], None]
"""Takes a sentence about something unusual that is no error."""


@dataclass(frozen=True)
class Section:
    """What a file holds from byte `start` on.

    packed: whether that is a gzip; None where its first bytes tell.
    """

    path: Path
    start: int = 0
    packed: bool | None = None


def read_blocks(source: Path | Section, limit: int | None = None, notify: Notify | None = None) -> Iterator[bytes]:
    """The bytes of a file or a section, unpacked when it is a gzip, in blocks of at most 4 MiB.

    limit: read no more bytes than these. None: read all, and compare the gzip's checksums. notify: hears of bytes
    behind the gzip, which are left out, as gzip does. Raises what the system raises, zlib.error and EOFError.
    """
    most = _BLOCK if limit is None else min(limit, _BLOCK)
    left = math.inf if limit is None else limit
    section = _section(source)
    packed = is_packed(section)
    with open(section.path, "rb") as raw:
        raw.seek(section.start)
        for block in _unpacked(raw, most, notify) if packed else iter(lambda: raw.read(most), b""):
            yield block if len(block) <= left else block[: int(left)]
            left -= len(block)
            if left <= 0:
                return


def is_packed(source: Path | Section) -> bool:
    """Whether the content is a gzip."""
    section = _section(source)
    if section.packed is not None:
        return section.packed
    with open(section.path, "rb") as raw:
        raw.seek(section.start)
        return raw.read(2) == _GZIP


def most_bytes(source: Path | Section) -> int:
    """More bytes than these a file or section cannot unpack to; deflate never does better than 1032 to 1."""
    section = _section(source)
    size = max(0, os.path.getsize(section.path) - section.start)
    return size * _GZIP_MOST_RATIO if is_packed(section) else size


@contextmanager
def reading(path: Path, expected: str = "expected a readable file") -> Iterator[None]:
    """Turn what goes wrong while `path` is read into InputError. expected: what a message says of it."""
    try:
        yield
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: permission denied. Check the file's permissions.") from error
    except (EOFError, zlib.error) as error:
        raise InputError(
            f"{path} is a damaged gzip ({_plainly(error)}): expected a complete one. Download or export the scan again."
        ) from error
    except MemoryError as error:
        raise InputError(f"{path} does not fit in memory. Use a machine with more, or crop the scan.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): {expected}. Export the scan again.") from error


def _section(source: Path | Section) -> Section:
    return source if isinstance(source, Section) else Section(source)


def _plainly(error: Exception) -> str:
    """What zlib says, without its number."""
    return "its CRC differs" if "incorrect data check" in str(error) else str(error).split(": ")[-1]


def _unpacked(raw: BinaryIO, most: int, notify: Notify | None) -> Iterator[bytes]:
    """All members of a gzip, one after the other, as `gzip -d` does. RFC 1952; zlib compares the checksums."""
    data = raw.read(_RAW)
    while data:
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            if not data and not (data := raw.read(_RAW)):
                raise EOFError("it ends before its end mark")
            block = member.decompress(data, most)
            data = member.unconsumed_tail
            if block:
                yield block
        data = _after_zeros(member.unused_data, raw)
        if data and not data.startswith(_GZIP):
            if notify is not None:
                behind = len(data) + _left(raw)
                notify(f"{behind:,} bytes behind the end of the gzip are not part of it and were left out.")
            return


def _after_zeros(data: bytes, raw: BinaryIO) -> bytes:
    """What follows a member, without the zeros that pad it: at least two bytes where there are any."""
    data = data.lstrip(b"\0")
    while len(data) < 2 and (more := raw.read(_RAW)):
        data = (data + more).lstrip(b"\0")
    return data


def _left(raw: BinaryIO) -> int:
    at = raw.tell()
    return raw.seek(0, io.SEEK_END) - at
