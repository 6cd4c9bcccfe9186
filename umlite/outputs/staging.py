"""The hidden folder that a set of files is written in, and whose it is: a live run's, or nobody's any more."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from umlite.files import json_of, open_file

try:
    import fcntl
except ImportError:  # not on Windows: there, age alone tells
    fcntl = None  # type: ignore[assignment]

PREFIX = ".umlite-"
MARKER = f"{PREFIX}incomplete"
"""The name of a staging folder while its files move to their own names: until it is gone, some may be missing."""
ABANDONED_S = 3600.0
"""A run on another machine that has not touched its files for so long is over."""

_live: set[str] = set()
"""Tokens of this process's staging folders."""


@dataclass(frozen=True)
class Owner:
    """Who made a staging folder. boot: of the system, the same in all containers of a machine."""

    pid: int
    host: str
    boot: str


class Staging:
    """A folder in `home`, whose file TOKEN.lock is locked for as long as this process holds it.

    Raises OSError where it cannot be made.
    """

    def __init__(self, home: Path) -> None:
        self.home, self.token = home, secrets.token_hex(6)
        self.folder = hidden_path(home, self.token)
        self._lock: IO[str] | None = None

    @property
    def lock_path(self) -> Path:
        """The locked file."""
        return self.folder / f"{self.token}.lock"

    def make(self) -> None:
        """Create the folder, ready to be written in."""
        _live.add(self.token)
        self.folder.mkdir()
        self._lock = open(self.lock_path, "x+")  # noqa: SIM115
        _locked(self._lock, wait=True)
        json.dump(asdict(_this_process()), self._lock)
        self._lock.flush()

    def release(self) -> None:
        """Let go of the lock; some shares rename no folder that has an open file in it."""
        if self._lock is not None:
            with contextlib.suppress(OSError):  # a full disk has said so before, and the file is closed all the same
                self._lock.close()
        self._lock = None

    @property
    def is_locked(self) -> bool:
        """Whether the lock's file is open."""
        return self._lock is not None

    def remove(self) -> None:
        """Remove the folder, as far as the system lets it."""
        _live.discard(self.token)
        self.release()
        remove(self.folder)


def hidden_path(home: Path, token: str) -> Path:
    """A name in a folder that says which process it belongs to."""
    return home / f"{PREFIX}{_place()}-{os.getpid()}-{token}"


def remove(path: Path) -> None:
    """Remove a hidden file or folder, as far as the system lets it, its lock last."""
    if path.is_symlink() or not path.is_dir():
        with contextlib.suppress(OSError):
            path.unlink()
        return
    with contextlib.suppress(OSError):
        for entry in sorted(path.iterdir(), key=lambda one: one.suffix == ".lock"):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.rmdir()


def hidden_names(home: Path) -> list[Path]:
    """What umlite put into a folder beside results. Empty where the folder is not there or cannot be listed."""
    with contextlib.suppress(OSError), os.scandir(home) as entries:
        return sorted(home / entry.name for entry in entries if entry.name.startswith(PREFIX))
    return []


@contextmanager
def taken_over(path: Path) -> Iterator[bool]:
    """Whether the run that made a staging folder (or a hidden file) is over; nobody else takes it meanwhile."""
    lock_path = _lock_in(path)
    if lock_path is None:
        yield _nobodys_by_name(path)
        return
    try:
        file = open(lock_path, "r+")  # noqa: SIM115  some network file systems lock only what may be written
    except OSError:
        yield False
        return
    with file:
        free = _locked(file, wait=False)
        if free is False or not _still_there(file, lock_path):
            yield False
        else:
            owner = _owner(file)
            if owner is None:
                yield _nobodys_by_name(path)
            else:
                here = _this_process()
                is_near = owner.host == here.host or (owner.boot == here.boot != "")
                yield (bool(free) and is_near) or _is_old(path)


def owner_of(folder: Path) -> Owner | None:
    """Who made a staging folder, if that can be told."""
    lock_path = _lock_in(folder)
    if lock_path is not None:
        with contextlib.suppress(OSError), open_file(lock_path) as file:
            return _owner(file)
    return None


def _lock_in(folder: Path) -> Path | None:
    """The locked file of a staging folder. None where it has none, or another run is removing it."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return next((folder / entry.name for entry in entries if entry.name.endswith(".lock")), None)
    return None


def _owner(file: IO[Any]) -> Owner | None:
    try:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # a pipe would be waited for
            return None
        return Owner(**json_of(file))
    except (OSError, ValueError, TypeError):
        return None


def _this_process() -> Owner:
    return Owner(os.getpid(), platform.node(), _system("/proc/sys/kernel/random/boot_id"))


def _place() -> str:
    """Stands for this boot of the machine and this container: where a process's number means something."""
    with contextlib.suppress(OSError):
        container = os.readlink("/proc/self/ns/pid")
        facts = f"{_system('/proc/sys/kernel/random/boot_id')} {container}"
        return hashlib.sha256(facts.encode()).hexdigest()[:8]
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _system(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text().strip()
    return ""


def _locked(file: IO[Any], *, wait: bool) -> bool | None:
    """Lock a file for this process. False: another holds it. None: nobody can lock files here."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _still_there(file: IO[Any], path: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    return False


def _nobodys_by_name(path: Path) -> bool:
    """Whether a folder without a lock is nobody's: a run died before it made one, or while it removed the folder."""
    place, _, rest = path.name.removeprefix(PREFIX).partition("-")
    pid, _, token = rest.partition("-")
    if place != _place() or not pid.isdigit():
        return _is_old(path)
    if int(pid) == os.getpid():
        return token.partition(".")[0] not in _live
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return _is_old(path)


def _is_old(path: Path) -> bool:
    newest = 0.0
    with contextlib.suppress(OSError):
        newest = path.lstat().st_mtime
        if path.is_dir():
            newest = max([newest, *(entry.stat(follow_symlinks=False).st_mtime for entry in os.scandir(path))])
        return time.time() - newest > ABANDONED_S
    return False
