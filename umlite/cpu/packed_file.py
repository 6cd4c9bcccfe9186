"""Packed weights kept in files: made once, mapped by every later process, safe to delete at any time."""

from __future__ import annotations

import json
import mmap
import os
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from umlite.cpu.activation import Floats
from umlite.cpu.cache import cache_folder, trusted

FOLDER_LIMIT_BYTES = 3 << 30
PAGE = 4096
SUFFIX = ".packed"


def read_packed(key: str) -> dict[str, Floats] | None:
    """Layer -> packed weights as flat, read-only arrays on the file's pages, or None where there is no sound file.

    Every array is compared with its checksum. A file that differs is removed.
    """
    path = _path(key)
    try:
        if not trusted(path):
            return None
        arrays = _map(path, key)
        if arrays is None:
            path.unlink()
        else:
            os.utime(path)
    except OSError:
        return arrays if "arrays" in locals() else None
    return arrays


def write_packed(key: str, arrays: Mapping[str, Floats]) -> None:
    """Keep arrays under a key, whole or not at all; the oldest files go where the folder grows beyond its limit.

    Raises OSError where the folder cannot be written or the disk has no room for it.
    """
    path = _path(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    places, offset = {}, 0
    for name, array in arrays.items():
        places[name] = (offset, array.size, _checksum(array))
        offset += -(-array.nbytes // PAGE) * PAGE
    if shutil.disk_usage(path.parent).free < 2 * offset:
        raise OSError(28, "too little room on the disk")
    header = json.dumps({"key": key, "arrays": places}).encode()
    start = -(-(len(header) + 8) // PAGE) * PAGE
    temporary = path.with_name(f".{secrets.token_hex(6)}{SUFFIX}")
    try:
        with open(temporary, "xb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            for name, array in arrays.items():
                file.seek(start + places[name][0])
                file.write(array.data.cast("B"))
            file.truncate(start + offset)
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    _drop_oldest(path)


def _path(key: str) -> Path:
    return cache_folder() / "packed" / f"{key}{SUFFIX}"


def _map(path: Path, key: str) -> dict[str, Floats] | None:
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        size = os.fstat(file.fileno()).st_size
        if not 0 < length < size:
            return None
        try:
            header = json.loads(file.read(length))
            if header["key"] != key:
                return None
            places = {
                name: (int(offset), int(count), int(check)) for name, (offset, count, check) in header["arrays"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        start = -(-(length + 8) // PAGE) * PAGE
        if any(start + offset + 4 * count > size for offset, count, _ in places.values()):
            return None
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    arrays = {
        name: np.frombuffer(pages, np.float32, count, start + offset) for name, (offset, count, _) in places.items()
    }
    if any(_checksum(array) != places[name][2] for name, array in arrays.items()):
        return None
    return arrays


def _checksum(array: Floats) -> int:
    """Sum of the bits as 64-bit numbers (arrays are whole cache lines): finds what a broken file has lost."""
    return int(np.add.reduce(array.reshape(-1).view(np.uint64)))


def _drop_oldest(kept: Path) -> None:
    files = {path: path.stat() for path in kept.parent.glob(f"*{SUFFIX}") if path != kept}
    total = kept.stat().st_size + sum(status.st_size for status in files.values())
    for path in sorted(files, key=lambda path: files[path].st_mtime):
        if total <= FOLDER_LIMIT_BYTES:
            break
        total -= files[path].st_size
        path.unlink(missing_ok=True)
