"""The folder for compiled kernels and packed weights, which can be made again: safe to delete at any time."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

NO_HOME = "this user has no home folder"


def cache_folder() -> Path:
    """$UMLITE_CACHE, else the user's cache folder of the operating system. It need not exist or be writable.

    Raises OSError when there is none: this user has no home folder, or the named user does not exist.
    """
    given = os.environ.get("UMLITE_CACHE")
    try:
        if given:
            return Path(given).expanduser()
        from platformdirs import user_cache_path

        folder = user_cache_path("umlite", appauthor=False)
    except RuntimeError as error:
        why = f"UMLITE_CACHE is {given!r}, and there is no such user" if given else NO_HOME
        raise FileNotFoundError(errno.ENOENT, why) from error
    if not folder.is_absolute():  # an older platformdirs leaves a "~" that nothing can be put in place of
        raise FileNotFoundError(errno.ENOENT, NO_HOME)
    return folder


def not_kept(error: OSError) -> str:
    """The sentence that tells a person what `error` costs."""
    try:
        place = f"in {cache_folder()}"
    except OSError:
        place = "anywhere"
    return (
        f"Nothing can be kept {place} ({error.strerror or error}): kernels are compiled and weights packed at every "
        "start. UMLITE_CACHE can name another folder."
    )


def trusted(path: Path) -> bool:
    """Whether a path is a regular file that only this user or root can have written. Only such files are used.

    Raises OSError when there is nothing at the path.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
        return False
    return not hasattr(os, "geteuid") or (status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022)
