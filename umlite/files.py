"""Writing files whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from umlite.errors import OutputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` (same suffixes) to write to; it becomes `path` when the block ends well.

    When the block raises, KeyboardInterrupt too, the temporary file is removed and `path` stays as it was.
    Raises OutputError when the system refuses (no permission, no such folder, disk full).
    """
    temporary = path.with_name(f".umlite-{secrets.token_hex(4)}-{path.name}")
    try:
        with open(temporary, "xb") as created:
            mode = os.fstat(created.fileno()).st_mode
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, mode)  # some writers make private files whatever the user's mask
        os.replace(temporary, path)
    except OSError as error:
        raise output_error(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents. Raises OutputError when that is refused or a file stands in the way."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(error, folder) from error


def output_error(error: OSError, path: Path) -> OutputError:
    """The OutputError that tells a user what to do about `error`, which writing `path` raised."""
    advice = {
        errno.ENOSPC: "the disk is full. Free some space, or choose another folder with -o.",
        errno.EDQUOT: "the disk quota is used up. Free some space, or choose another folder with -o.",
        errno.EACCES: "permission denied. Choose a folder you may write to with -o.",
        errno.EROFS: "the file system is read-only. Choose another folder with -o.",
        errno.EEXIST: "a file of that name stands where a folder is needed. Choose another name with -o.",
        errno.ENOTDIR: "a file stands where a folder is needed. Choose another name with -o.",
        errno.EISDIR: "a folder of that name exists. Choose another name with -o.",
    }.get(error.errno or 0, f"{error.strerror or error}.")
    return OutputError(f"Cannot write {path}: {advice}")
