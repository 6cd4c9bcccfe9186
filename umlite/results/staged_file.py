"""A file of a set that is written block by block and compressed on the way."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from umlite.files import output_error
from umlite.outputs.file_set import Files
from umlite.results.sparse_gzip import SparseGzip

_GZIP_LEVEL = 1
"""The level of nibabel. Masks are mostly runs of zeros, which level 6 compresses little better and much slower."""
_WAITING_BYTES = 1 << 18
"""Compressed bytes of a file that wait in memory before it is opened to append them."""


class StagedFile:
    """A file that is open only while bytes are appended, so that any number of them can be under way.

    Raises OutputError.

    Args:
        files: the set that it joins.
        path: the name that it will get.
        packed: whether to compress what is written, as one gzip.
        before: bytes in front of the gzip.
    """

    def __init__(self, files: Files, path: Path, *, packed: bool, before: bytes = b"") -> None:
        self._path = path
        self._staged = files.new(path)
        self._waiting = io.BytesIO()
        self._waiting.write(before)
        self._packed = SparseGzip(self._waiting, _GZIP_LEVEL) if packed else None

    def write(self, block: bytes | int) -> None:
        """Append bytes, or a number of zero bytes."""
        if self._packed is None:
            self._waiting.write(bytes(block))
        elif isinstance(block, int):
            self._packed.write_zeros(block)
        else:
            self._packed.write(block)
        if self._waiting.tell() >= _WAITING_BYTES:
            self._append()

    def close(self) -> None:
        """Complete the file."""
        if self._packed is not None:
            self._packed.close()
        self._append()

    def _append(self) -> None:
        with _refusals(self._path), open(self._staged, "ab") as file:
            file.write(self._waiting.getbuffer())
        self._waiting.seek(0)
        self._waiting.truncate()


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise output_error(error, path) from error
