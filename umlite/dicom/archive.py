"""A zip archive as a source of files: read in memory, never unpacked to disk, and never trusted."""

from __future__ import annotations

import stat
import threading
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from umlite.errors import InputError

MOST_MEMBER_BYTES = 1 << 30
"""A larger member is left out: it is held in memory while it is read."""
_PLAIN_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1


class Archive:
    """The members of one zip archive.

    Their names are names only: nothing is written, so a path such as ../../x leads nowhere. Any number of threads may
    read. Raises InputError where the file is no complete archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._last: tuple[zipfile.ZipInfo, bytes] | None = None
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
            raise InputError(
                f"{path} is a damaged ZIP archive ({error}): expected a whole one. Copy or download it again."
            ) from error

    def members(self) -> Iterator[Member]:
        """Its regular files."""
        for info in self._zip.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if not info.filename.endswith("/") and kind in (0, stat.S_IFREG):
                yield Member(self, info)

    def refusal(self, info: zipfile.ZipInfo) -> str | None:
        """Why a member is not read; None where it is."""
        if info.flag_bits & _ENCRYPTED:
            return "it is encrypted; unpack the archive with its password first"
        if info.compress_type not in _PLAIN_METHODS:
            return "it is packed in a way other than deflate; unpack the archive first"
        if info.file_size > MOST_MEMBER_BYTES:
            return f"it unpacks to {info.file_size / 1e9:.1f} GB; unpack the archive first"
        return None

    def read(self, info: zipfile.ZipInfo, start: int, length: int) -> bytes:
        """Bytes of a member, which is unpacked up to there. One of many small parts is kept until another comes."""
        if reason := self.refusal(info):
            raise InputError(f"{self.path}: {info.filename} is not read: {reason}.")
        try:
            if start == 0 or 2 * length > info.file_size:
                with self._zip.open(info) as file:
                    return file.read(start + length)[start:]
            with self._lock:
                if self._last is None or self._last[0] is not info:
                    self._last = None
                    with self._zip.open(info) as file:
                        self._last = info, file.read(MOST_MEMBER_BYTES)
                data = self._last[1]
            return data[start : start + length]
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError) as error:
            raise InputError(
                f"{self.path}: {info.filename} is damaged ({error}). Download the archive again."
            ) from error


@dataclass(frozen=True, eq=False)
class Member:
    """A file in an archive."""

    archive: Archive
    info: zipfile.ZipInfo

    @property
    def name(self) -> str:
        return f"{self.archive.path}: {self.info.filename}"

    @property
    def size(self) -> int:
        return self.info.file_size

    def read(self, start: int, length: int) -> bytes:
        return self.archive.read(self.info, start, length)
