"""Packed weights in files: made once, mapped by every later process, safe to delete at any time.

A file is a header and arrays, each on pages of its own:

    MAGIC, the header's length (8 bytes), its SHA-256 (32 bytes), the header (JSON), arrays from `start` on
    header: key, start, arrays {name: [offset from start, floats, CRC-32]}

A file is used if nobody else can have written it, its header has that hash, names and sizes are the wanted ones, and
every array has its checksum. Anything else is made again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import secrets
import shutil
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from umlite.cpu import buffers
from umlite.cpu.activation import Floats
from umlite.machine.cache_folder import cache_folder, not_kept, trusted
from umlite.machine.in_threads import in_threads
from umlite.machine.memory import refused
from umlite.progress import Notify

FOLDER_LIMIT_BYTES = 3 << 30
PAGE = 4096
SUFFIX = ".packed"
MAGIC = b"umlite 2"
START_BYTES = len(MAGIC) + 8 + 32
SAID_FROM_BYTES = 128 << 20
"""Smaller weights are packed before anyone could read a sentence about it."""


def kept_weights(
    key: str,
    sizes: Mapping[str, int],
    fill: Callable[[str, Floats], None],
    *,
    keep: bool,
    threads: int,
    notify: Notify,
) -> dict[str, Floats]:
    """Weights as kernels read them: found in the cache, made and kept there, or only made.

    Args:
        key: hash of everything that they depend on.
        sizes: floats of each array, whole cache lines.
        fill: gets a name and its zeroed array, and writes its numbers.
        keep: look for them in the cache, and keep them there.
        threads: how many check them.
        notify: gets a sentence when many are made, and when they cannot be kept.

    Returns:
        Name -> flat float32 array.

    Raises:
        DeviceError: the system refuses the memory.
    """
    if keep and (found := read_packed(key, sizes, threads)) is not None:
        return found
    if 4 * sum(sizes.values()) >= SAID_FROM_BYTES:
        notify(f"Packing the weights for this processor{' (once, kept in the cache)' if keep else ''} ...")
    if keep:
        try:
            fill_packed(key, sizes, fill)
            if found := read_packed(key, sizes, threads):
                return found
            notify(not_kept(OSError(errno.EIO, "what was written cannot be read back")))
        except OSError as error:
            notify(not_kept(error))
    arrays = {name: buffers.zeros(size) for name, size in sizes.items()}
    for name, array in arrays.items():
        fill(name, array)
    return arrays


def read_packed(key: str, sizes: Mapping[str, int], threads: int = 1) -> dict[str, Floats] | None:
    """Map kept arrays. A file that is not sound is removed.

    Returns:
        Name -> flat, read-only array on the file's pages; None without a sound file of these sizes.

    Raises:
        DeviceError: the system refuses the memory.
    """
    try:
        path = _path(key)
        if not trusted(path):
            return None
        arrays = _map(path, key, sizes, threads)
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise refused(4 * sum(sizes.values()), "packed weights") from error
        return None
    with suppress(OSError):
        if arrays is None:
            path.unlink()
        else:
            os.utime(path)
    return arrays


def fill_packed(key: str, sizes: Mapping[str, int], fill: Callable[[str, Floats], None]) -> None:
    """Keep arrays under a key with one of them in memory at a time. If the folder grows too large, the oldest files go.

    Args:
        key, sizes, fill: as of `kept_weights`.

    Raises:
        OSError: the folder cannot be written, or the disk has no room. Then no file is left behind.
    """
    path = _path(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    start = _whole_pages(START_BYTES + len(key) + sum(len(json.dumps(name)) + 80 for name in sizes) + 80)
    total = start + sum(_whole_pages(4 * size) for size in sizes.values())
    if shutil.disk_usage(path.parent).free < 2 * total:
        raise OSError(errno.ENOSPC, "too little room on the disk")
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
            file.write(MAGIC + len(header).to_bytes(8, "little") + hashlib.sha256(header).digest() + header)
        with suppress(OSError):  # some shares have no permissions to change
            temporary.chmod(0o644)
        if not trusted(temporary):
            raise PermissionError(errno.EPERM, "others could change files there")
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    _drop_oldest(path)


def _whole_pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


def _path(key: str) -> Path:
    return cache_folder() / "packed" / f"{key}{SUFFIX}"


def _map(path: Path, key: str, sizes: Mapping[str, int], threads: int) -> dict[str, Floats] | None:
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        begin = file.read(START_BYTES)
        length = int.from_bytes(begin[len(MAGIC) : len(MAGIC) + 8], "little")
        if not begin.startswith(MAGIC) or START_BYTES + length > size:
            return None
        text = file.read(length)
        if hashlib.sha256(text).digest() != begin[-32:]:
            return None
        header = json.loads(text)
        places = header["arrays"]
        if header["key"] != key or {name: floats for name, (_, floats, _) in places.items()} != dict(sizes):
            return None
        if any(header["start"] + offset + 4 * floats > size for offset, floats, _ in places.values()):
            return None
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    arrays = {
        name: np.frombuffer(pages, np.float32, floats, header["start"] + offset)
        for name, (offset, floats, _) in places.items()
    }
    checksums = in_threads(_checksum, arrays.values(), threads)
    return arrays if checksums == [check for _, _, check in places.values()] else None


def _checksum(array: Floats) -> int:
    return zlib.crc32(array.reshape(-1).data.cast("B"))


def _drop_oldest(kept: Path) -> None:
    """Remove the oldest files above the limit. Other processes may do the same at the same moment."""
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
