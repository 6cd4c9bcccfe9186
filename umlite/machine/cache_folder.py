"""Where what can be made again is kept: compiled kernels and packed weights. Safe to delete at any time."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """$UMLITE_CACHE, else the user's cache folder of the operating system. It need not exist or be writable."""
    if folder := os.environ.get("UMLITE_CACHE"):
        return Path(folder).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("umlite", appauthor=False)


def trusted(path: Path) -> bool:
    """Whether nobody but this user (or root) can have written a file: what is loaded from it runs or is believed."""
    if not hasattr(os, "geteuid"):
        return True
    status = path.stat()
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022
