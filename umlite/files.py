"""Paths as people write them, folders, hashes, writing through to the disk, and advice for what the system refuses."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

from umlite.errors import OutputError

MOST_JSON_BYTES = 1 << 22


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path whose leading ~ is a home folder, as a shell reads it (not within `--output=~/masks`, for example).

    What exists as written is meant as written, and so is a name that no user has.
    """
    written = Path(path)
    if os.path.lexists(written):
        return written
    try:
        return written.expanduser()
    except RuntimeError:
        return written


def output_path(path: str | os.PathLike[str]) -> Path:
    """An `expanded` path to write to. Raises OutputError if it begins with the home folder of nobody."""
    found = expanded(path)
    if found.parts and found.parts[0].startswith("~") and not os.path.lexists(found.parts[0]):
        raise OutputError(
            f"Cannot write {found}: {found.parts[0]} is not a user's home folder. Write out the whole path.",
            about="output",
        )
    return found


def make_folder(folder: Path) -> None:
    """Create a folder and its parents. Raises OutputError if the system refuses or a file is in the way."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise output_error(NotADirectoryError(errno.ENOTDIR, "not a folder"), folder) from error
    except OSError as error:
        raise output_error(error, folder) from error


def check_free(files: Iterable[Path], *, overwrite: bool, about: str = "output") -> None:
    """Raise OutputError for a file that is there and may not be replaced. about: the option that names the files."""
    there = [] if overwrite else [file for file in files if os.path.lexists(file)]
    if there:
        raise OutputError(
            f"{there[0]} exists already. Choose another place, or allow replacing it.", about=("overwrite", about)
        )


def open_file(path: Path) -> BufferedReader:
    """Open a file for reading. Raises OSError at once for a folder, a pipe or a device, which could block for ever."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file, but a folder, a pipe or a device")
    return os.fdopen(descriptor, "rb")


def read_json(path: Path, most_bytes: int = MOST_JSON_BYTES) -> Any:
    """What a JSON file holds. Raises OSError as `open_file` does, ValueError as `json_of`."""
    with open_file(path) as file:
        return json_of(file, most_bytes)


def json_of(file: IO[Any], most_bytes: int = MOST_JSON_BYTES) -> Any:
    """What an open JSON file holds. Raises ValueError where it is none, longer than `most_bytes`, or too deep."""
    text = file.read(most_bytes + 1)
    if len(text) > most_bytes:
        raise ValueError(f"it is longer than {most_bytes >> 20} MiB")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def kept_sha256(path: Path) -> str:
    """The same for a large file that is asked for again: it is read once, as long as size and times stay the same."""
    status = os.stat(path)
    return _sha256_of(path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@functools.lru_cache(maxsize=64)
def _sha256_of(path: Path, *_status: int) -> str:
    return file_sha256(path)


def output_error(error: OSError, path: Path) -> OutputError:
    """The OutputError that tells a user what to do about an error of the system while writing `path`."""
    advice = {
        errno.ENOSPC: "the disk is full. Free some space, or choose another folder.",
        errno.EDQUOT: "the disk quota is used up. Free some space, or choose another folder.",
        errno.EACCES: "permission denied. Choose a folder that you may write to.",
        errno.EPERM: "permission denied. Choose a folder that you may write to.",
        errno.EROFS: "the file system is read-only. Choose another folder.",
        errno.EEXIST: "it exists already. Choose another name, or allow replacing it.",
        errno.ENOTDIR: "a file is where a folder is needed. Choose another name.",
        errno.EISDIR: "a folder of that name exists. Choose another name.",
        errno.EFBIG: "the file would be larger than is allowed. Raise that limit, or choose another folder.",
        errno.EIO: "the disk reports an error. Choose another folder, and check the disk.",
        errno.EMFILE: "this process may open no more files. Raise that limit.",
        errno.EXDEV: "it lies on another disk than the folder around it. Choose another folder.",
        errno.ENAMETOOLONG: "the name is too long. Choose a shorter one.",
    }.get(error.errno or 0, f"{error.strerror or error}.")
    about = ("overwrite", "output") if error.errno == errno.EEXIST else "output"
    return OutputError(f"Cannot write {path}: {advice}", about=about)


def nicety(call: Callable[..., object], *arguments: object) -> None:
    """Try something that is welcome but not needed: some shares refuse to change modes, for example."""
    with contextlib.suppress(OSError):
        call(*arguments)


def sync(path: Path) -> None:
    """Write a file through to the disk. Continue if the file system cannot.

    Raises OSError if the disk fails or is full.
    """
    with open(path, "rb+") as file:
        sync_open(file)


def sync_open(file: IO[bytes]) -> None:
    """Write a file that is open for writing through to the disk, like `sync`."""
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
            raise


def sync_folder(folder: Path) -> None:
    """Write the names in a folder through to the disk, if the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
