"""Packed weights kept in files: made once, mapped by every later process, safe to delete at any time."""

from __future__ import annotations

import json
import mmap
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from umlite.cpu import buffers
from umlite.cpu.activation import Floats
from umlite.cpu.compiler import Notify
from umlite.machine.cache_folder import cache_folder, trusted

FOLDER_LIMIT_BYTES = 3 << 30
PAGE = 4096
SUFFIX = ".packed"
SAID_FROM_BYTES = 128 << 20
"""Fewer are packed before anyone could read of it."""


def kept_weights(
    key: str,
    sizes: Mapping[str, int],
    fill: Callable[[str, Floats], None],
    *,
    keep: bool,
    notify: Notify | None,
) -> dict[str, Floats]:
    """Name -> flat float32 array.

    key: of everything that they depend on. sizes: floats of each, whole cache lines. fill: gets a name and its zeroed
    array, and writes its numbers. keep: look for them in the cache, and keep them there. notify: gets a sentence where
    many are made, and where they cannot be kept.
    """
    if keep and (found := read_packed(key)) is not None:
        return found
    if notify and 4 * sum(sizes.values()) >= SAID_FROM_BYTES:
        notify(f"Packing the weights for this processor{' (once, kept in the cache)' if keep else ''} ...")
    if keep:
        try:
            fill_packed(key, sizes, fill)
        except OSError as error:
            if notify:
                notify(f"Packed weights are not kept ({error.strerror or error}): made again at every start.")
        else:
            if found := read_packed(key):
                return found
    arrays = {name: buffers.zeros(size) for name, size in sizes.items()}
    for name, array in arrays.items():
        fill(name, array)
    return arrays


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
    """Keep arrays under a key, whole or not at all. Raises OSError (see `fill_packed`)."""
    sizes = {name: array.size for name, array in arrays.items()}
    fill_packed(key, sizes, lambda name, out: np.copyto(out, arrays[name].reshape(-1)))


def fill_packed(key: str, sizes: Mapping[str, int], fill: Callable[[str, Floats], None]) -> None:
    """Keep arrays under a key without ever holding two of them; the oldest files go where the folder grows too large.

    sizes: floats of each array, whole cache lines. fill: gets a name and its zeroed array, and writes its numbers.
    Raises OSError where the folder cannot be written or the disk has no room for it; then no file is left behind.
    """
    path = _path(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    start = -(-(len(key) + sum(len(json.dumps(name)) + 80 for name in sizes) + 80) // PAGE) * PAGE
    total = start + sum(_whole_pages(4 * size) for size in sizes.values())
    if shutil.disk_usage(path.parent).free < 2 * total:
        raise OSError(28, "too little room on the disk")
    buffer = buffers.zeros(max(sizes.values(), default=0))
    temporary = path.with_name(f".{secrets.token_hex(6)}{SUFFIX}")
    places, offset = {}, 0
    try:
        with open(temporary, "xb") as file:
            for name, size in sizes.items():
                array = buffer[:size]
                array[:] = 0
                fill(name, array)
                file.seek(start + offset)
                file.write(array.data.cast("B"))
                places[name] = (offset, size, _checksum(array))
                offset += _whole_pages(array.nbytes)
            file.truncate(total)
            header = json.dumps({"key": key, "start": start, "arrays": places}).encode()
            file.seek(0)
            file.write(len(header).to_bytes(8, "little") + header)
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    _drop_oldest(path)


def _whole_pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


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
            start = int(header["start"])
            if header["key"] != key:
                return None
            places = {
                name: (int(offset), int(count), int(check)) for name, (offset, count, check) in header["arrays"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        if start < length + 8 or any(offset < 0 or count < 0 for offset, count, _ in places.values()):
            return None
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
    """Other processes may do the same at the same moment: a file that is gone is as good as removed."""
    files: list[tuple[float, int, Path]] = []
    for path in kept.parent.glob(f"*{SUFFIX}"):
        with suppress(OSError):
            status = path.stat()
            files.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= FOLDER_LIMIT_BYTES:
            break
        if path != kept:
            total -= size
            with suppress(OSError):
                path.unlink()
