"""Which file of a staging folder becomes which result: done, or undone, from wherever a run stopped."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from umlite.files import read_json, sync, sync_folder
from umlite.outputs.staging import PREFIX

NAME = "journal.json"
FORMAT = 2


@dataclass(frozen=True)
class Move:
    """A file of a set.

    staged: its name in the staging folder. target: its place, relative to the set's folder.
    replace: whether it may replace a file there.
    """

    staged: str
    target: PurePosixPath
    replace: bool

    @property
    def kept(self) -> str:
        """The name in the staging folder under which a file that is replaced waits."""
        return f"{self.staged}.old"


@dataclass(frozen=True)
class Journal:
    """The files of one set, in the order in which they take their places.

    `forward` and `back` may be called at any time, again and again, by this process or a later one, while the folder
    `at` holds what has not moved yet. Both raise OSError where the system refuses; then the other one still works.
    """

    home: Path
    moves: tuple[Move, ...]

    def write(self, folder: Path) -> None:
        """Write the journal into a staging folder, on to the disk."""
        files = [{"staged": m.staged, "file": str(m.target), "replace": m.replace} for m in self.moves]
        path = folder / NAME
        path.write_text(json.dumps({"format": FORMAT, "files": files}, indent=1))
        sync(path)
        sync_folder(folder)

    @classmethod
    def read(cls, home: Path, folder: Path) -> Journal | None:
        """The journal in a staging folder of `home`; None where it is none, or names places outside `home`."""
        try:
            data = read_json(folder / NAME)
            moves = tuple(Move(f["staged"], PurePosixPath(f["file"]), bool(f["replace"])) for f in data["files"])
            known = data["format"] == FORMAT and all(_inside(move) for move in moves)
            return cls(home, moves) if known else None
        except (OSError, ValueError, TypeError, KeyError):
            return None

    @property
    def targets(self) -> list[Path]:
        """Where the files go."""
        return [self.home / move.target for move in self.moves]

    def forward(self, at: Path) -> None:
        """Give every file its place. What stood there is kept beside those that wait, for `back`."""
        waiting = [move for move in self.moves if (at / move.staged).exists()]
        for move in waiting:
            check_target(at / move.staged, self.home / move.target, overwrite=move.replace)
        for move in waiting:
            target = self.home / move.target
            target.parent.mkdir(parents=True, exist_ok=True)
            if move.replace and os.path.lexists(target) and not os.path.lexists(at / move.kept):
                _keep(target, at / move.kept)
            place(at / move.staged, target, overwrite=move.replace)
        self._sync(at)

    def back(self, at: Path) -> None:
        """Take every file back, and give what stood there its place again."""
        for move in reversed(self.moves):
            staged, kept, target = at / move.staged, at / move.kept, self.home / move.target
            if not staged.exists():
                if os.path.lexists(target):
                    os.rename(target, staged)
            elif _same(staged, target):
                target.unlink()
            if os.path.lexists(kept):
                os.replace(kept, target)
        self._sync(at)

    def _sync(self, at: Path) -> None:
        for folder in {target.parent for target in self.targets}:
            sync_folder(folder)
        sync_folder(at)


def check_target(staged: Path, target: Path, *, overwrite: bool) -> None:
    """Raise OSError where a file cannot take its place: a folder stands there, or a file that must stay."""
    if target.is_dir() and not target.is_symlink():
        raise IsADirectoryError(errno.EISDIR, "a folder of that name exists", str(target))
    if not overwrite and os.path.lexists(target) and not _same(staged, target):
        raise FileExistsError(errno.EEXIST, "exists", str(target))


def place(staged: Path, target: Path, *, overwrite: bool) -> None:
    """Give a file its name in one step, where `overwrite` is off only if nobody has it. Raises OSError."""
    if not overwrite:
        try:
            os.link(staged, target, follow_symlinks=False)
        except FileExistsError:
            if not _same(staged, target):
                raise
        except OSError:  # no hard links here
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, "exists", str(target)) from None
            os.rename(staged, target)
            return
        staged.unlink()
        return
    os.replace(staged, target)


def _keep(target: Path, kept: Path) -> None:
    """Keep a file under a second name, so that its own is never without one; without hard links, move it there."""
    try:
        os.link(target, kept, follow_symlinks=False)
    except OSError:
        os.rename(target, kept)


def _same(a: Path, b: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.lstat(a), os.lstat(b))
    return False


def _inside(move: Move) -> bool:
    """Whether a move stays in its set's folder, or in a folder of it: a journal is read from where others may write."""
    parts = (move.staged, *move.target.parts)
    return len(parts) in (2, 3) and not any(
        part in ("", ".", "..") or "/" in part or "\0" in part or part.startswith(PREFIX) for part in parts
    )
