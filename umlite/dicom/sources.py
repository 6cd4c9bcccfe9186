"""Where bytes come from: files of folders, members of archives, all read by place and length."""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from umlite.errors import InputError

MOST_INFLATED = 1 << 28
"""Bytes that a deflated data set may have, unpacked."""


class Source(Protocol):
    """A file, wherever it lies. Any number of threads may read it."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def size(self) -> int:
        """In bytes, as stated."""

    def read(self, start: int, length: int) -> bytes:
        """At most `length` bytes from `start` on; fewer at the end. Raises InputError."""


@dataclass(frozen=True)
class FileSource:
    """A file of its own."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def size(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def read(self, start: int, length: int) -> bytes:
        try:
            with open(self.path, "rb") as file:
                left = max(0, os.fstat(file.fileno()).st_size - start)
                file.seek(start)
                return file.read(min(length, left))
        except OSError as error:
            raise _unreadable(self.path, error) from error


@dataclass(frozen=True)
class Inflated:
    """What a deflated data set unpacks to. packed: the file it is in. start: byte where it begins there."""

    packed: Source
    start: int

    @property
    def name(self) -> str:
        return self.packed.name

    @property
    def size(self) -> int:
        return MOST_INFLATED

    def read(self, start: int, length: int) -> bytes:
        data = self.packed.read(self.start, self.packed.size)
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, min(start + length, MOST_INFLATED))[start:]
        except zlib.error as error:
            raise InputError(f"{self.name} is a damaged deflated DICOM file ({error}). Copy it again.") from error


def files_of(paths: Sequence[Path]) -> Iterator[FileSource]:
    """The files that are named, and those below the folders that are named, in the order of their names.

    Links to files are followed, links to folders are not. What is no regular file is passed over.
    Raises InputError for a folder that cannot be listed.
    """
    seen: set[tuple[int, int]] = set()
    for path in paths:
        for file in _below(path) if path.is_dir() else (path,):
            try:
                status = os.stat(file)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                yield FileSource(file)


def _below(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise _unreadable(folder, error)

    for root, folders, files in os.walk(folder, onerror=refuse):
        folders.sort()
        yield from (Path(root, file) for file in sorted(files))


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be read ({error.strerror or error}). Check the path and its permissions.")
