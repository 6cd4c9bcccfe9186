"""Writes files whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from umlite.errors import OutputError


@contextmanager
def replacing(path: Path, *, overwrite: bool = True, published: list[Path] | None = None) -> Iterator[Path]:
    """Give a temporary file to write, which becomes `path` when the block ends without an error.

    If the block raises, KeyboardInterrupt included, the temporary file is removed and `path` stays as it was.

    Args:
        path: the file to write or replace. The temporary file is beside it and has the same suffixes.
        overwrite: whether an existing file may be replaced.
        published: gets `path` if it is a new file.

    Raises:
        OutputError: the system refuses (no permission, no such folder, disk full), or the file exists and must not be
            replaced.
    """
    temporary = path.with_name(f".umlite-{secrets.token_hex(4)}-{path.name[-24:]}")
    try:
        with open(temporary, "xb") as created:
            mode = os.fstat(created.fileno()).st_mode
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, mode)  # some writers make private files, whatever the user's mask
        is_new = not os.path.lexists(path)
        if overwrite or not _linked(temporary, path):
            os.replace(temporary, path)
        if is_new and published is not None:
            published.append(path)
    except OSError as error:
        raise output_error(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents. Raises OutputError if the system refuses or a file is in the way."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise output_error(NotADirectoryError(errno.ENOTDIR, "not a folder"), folder) from error
    except OSError as error:
        raise output_error(error, folder) from error


def open_file(path: Path) -> BufferedReader:
    """Open a file for reading. Raises OSError at once for a folder, a pipe or a device, which could block for ever."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file, but a folder, a pipe or a device")
    return os.fdopen(descriptor, "rb")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
        errno.ENAMETOOLONG: "the name is too long. Choose a shorter one.",
    }.get(error.errno or 0, f"{error.strerror or error}.")
    about = ("overwrite", "output") if error.errno == errno.EEXIST else "output"
    return OutputError(f"Cannot write {path}: {advice}", about=about)


def _linked(temporary: Path, path: Path) -> bool:
    """Give the temporary file its name if that is free. Returns False on file systems without hard links.

    Raises:
        FileExistsError: the name is taken.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        if path.exists():
            raise FileExistsError(errno.EEXIST, "exists") from None
        return False
    return True
