"""What a scan's files hold, told by a hash, so that the same content is known again under any name."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umlite.dicom.sources import Inflated
from umlite.errors import InputError
from umlite.files import file_sha256
from umlite.volume.nrrd import is_nrrd, voxels_path

if TYPE_CHECKING:
    from umlite.dicom.series import Series

_BLOCK_BYTES = 1 << 26
"""Read at a time: a member of an archive is unpacked from its start for each."""
_HEADER_SUFFIXES = {".hdr": ".img", ".hdr.gz": ".img.gz", ".img": ".hdr", ".img.gz": ".hdr.gz"}


@dataclass(frozen=True)
class Content:
    """The content of a scan.

    Args:
        sha256: of its file; of the hashes of all its files, if they are several, in the order of the planes.
        bytes: of all files.
        mtime_ns: when the newest was changed; 0 where that is not known.
    """

    sha256: str
    bytes: int
    mtime_ns: int

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def content_of(path: Path, series: Series | None = None) -> Content:
    """Hash a scan's file, both files of a pair, or all files of a series. Raises InputError."""
    if series is not None:
        return _of_series(series)
    try:
        files = [path, *_partner(path)]
        status = [os.stat(file) for file in files]
        hashes = [file_sha256(file) for file in files]
    except OSError as error:
        raise InputError(f"Cannot read {path} ({error.strerror or error}).") from error
    return Content(_joined(hashes), sum(s.st_size for s in status), max(s.st_mtime_ns for s in status))


def size_and_time(path: Path, series: Series | None = None) -> tuple[int, int]:
    """Bytes and newest time of change as in `Content`, without reading a file. Raises OSError."""
    if series is not None:
        sources = _sources(series)
        return sum(size for _, size, _ in sources), max(time for _, _, time in sources)
    status = [os.stat(file) for file in (path, *_partner(path))]
    return sum(s.st_size for s in status), max(s.st_mtime_ns for s in status)


def _partner(path: Path) -> list[Path]:
    """The other file of a pair of header and voxels."""
    if is_nrrd(path):
        voxels = voxels_path(path)
        return [] if voxels == path else [voxels]
    for ending, other in _HEADER_SUFFIXES.items():
        if path.name.lower().endswith(ending):
            partner = path.with_name(path.name[: -len(ending)] + other)
            return [partner] if partner.exists() else []
    return []


def _of_series(series: Series) -> Content:
    hashes = []
    sources = _sources(series)
    for source, size, _ in sources:
        digest = hashlib.sha256()
        for start in range(0, size, _BLOCK_BYTES):
            digest.update(source.read(start, _BLOCK_BYTES))
        hashes.append(digest.hexdigest())
    return Content(_joined(hashes), sum(size for _, size, _ in sources), max(time for _, _, time in sources))


def _sources(series: Series) -> list[tuple[Any, int, int]]:
    """Each file of a series once, in the order of its planes, with its size and time of change."""
    headers = {id(frame.header): frame.header for frame in series.frames}
    found: dict[str, Any] = {}
    for header in headers.values():
        source = header.source
        found[source.name] = source.packed if isinstance(source, Inflated) else source
    archive = series.path if series.path.is_file() else None
    return [(source, source.size, _changed(getattr(source, "path", archive))) for source in found.values()]


def _changed(path: Path | None) -> int:
    return 0 if path is None else os.stat(path).st_mtime_ns


def _joined(hashes: list[str]) -> str:
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
