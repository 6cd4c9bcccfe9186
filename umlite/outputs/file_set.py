"""Files that come to be together: all of a set under their names, or none, or a marker that says which are.

They are written into a hidden folder beside their places, on the same disk. When all are whole, that folder takes the
name of the marker, in one step, and the files move out of it. When all have moved, the marker goes, in one step. So
wherever a run is killed, either no name has changed, or the marker is there and the next run finishes the set.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from umlite.errors import OutputError
from umlite.files import make_folder, nicety, output_error, sync, sync_folder
from umlite.outputs.journal import Journal, Move, check_target, place
from umlite.outputs.leftovers import recover, settle, who
from umlite.outputs.staging import MARKER, Staging

WAIT_S = 30.0
"""For another run that is giving files their places in the same folder, which takes moments."""

_unfinished: set[Path] = set()


class Files(Protocol):
    """Where results put their files: a `FileSet`, or several of them that end together."""

    def new(self, path: Path, *, replace: bool = False) -> Path:
        """Where to write the file that becomes `path`. replace: one that is there, anyway. Raises OutputError."""

    def write_text(self, path: Path, text: str, *, replace: bool = False) -> None:
        """Write a whole file of text, UTF-8. replace: as of `new`. Raises OutputError."""


class FileSet:
    """Files under way in one folder. Made by `together`.

    Args:
        folder: where they go, or into folders of it.
        overwrite: whether files that are there may be replaced.
    """

    def __init__(self, folder: Path, *, overwrite: bool) -> None:
        self.folder, self.overwrite = folder, overwrite
        self._staging = Staging(folder)
        self._moves: list[Move] = []
        self._made: list[Path] = []

    def new(self, path: Path, *, replace: bool = False) -> Path:
        """Where to write the file that becomes `path`, with the same suffixes. It moves after those asked for before.

        replace: whether this one may replace a file, whatever `overwrite` says.
        Raises OutputError where a folder stands at `path`.
        """
        if path.is_dir():
            raise output_error(IsADirectoryError(errno.EISDIR, "a folder"), path)
        name = f"{self._staging.token}-{len(self._moves)}-{path.name[-24:]}"
        target = PurePosixPath(path.relative_to(self.folder).as_posix())
        self._moves.append(Move(name, target, replace or self.overwrite))
        return self._staging.folder / name

    def write_text(self, path: Path, text: str, *, replace: bool = False) -> None:
        """Write a whole file of text, UTF-8. replace: as of `new`. Raises OutputError."""
        try:
            self.new(path, replace=replace).write_text(text, encoding="utf-8", newline="")
        except OSError as error:
            raise output_error(error, path) from error

    @property
    def files(self) -> list[Path]:
        """The files asked for so far, under the names that they get."""
        return [self.folder / move.target for move in self._moves]

    @property
    def staged(self) -> list[tuple[Path, Path]]:
        """For each file asked for so far: the name that it gets, and where it is now."""
        return [(self.folder / move.target, self._staging.folder / move.staged) for move in self._moves]

    def _begin(self) -> None:
        self._made = [f for f in (self.folder, *self.folder.parents) if not os.path.exists(f)]
        make_folder(self.folder)
        self._staging.make()

    def _complete(self) -> None:
        """Have every file whole on the disk, then under its name."""
        self._made += [f for f in {path.parent for path in self.files} if not os.path.exists(f)]
        mode = self._staging.lock_path.stat().st_mode
        for _, path in self.staged:
            if path.stat().st_mode != mode:  # some writers make private files whatever the user's mask
                nicety(os.chmod, path, mode)
            sync(path)
        if len(self._moves) == 1:
            (target, staged), replace = self.staged[0], self._moves[0].replace
            check_target(staged, target, overwrite=replace)
            target.parent.mkdir(parents=True, exist_ok=True)
            place(staged, target, overwrite=replace)
            sync_folder(target.parent)
        elif self._moves:
            self._place_all()

    def _place_all(self) -> None:
        journal, marker = self._journal(), self.folder / MARKER
        journal.write(self._staging.folder)
        self._mark()
        sync_folder(self.folder)
        try:
            journal.forward(marker)
        except OSError:
            journal.back(marker)
            raise
        self._unmark()

    def _journal(self) -> Journal:
        return Journal(self.folder, tuple(self._moves))

    def _mark(self) -> None:
        """Name the staging folder like the marker, when no other run has it."""
        marker, user = self.folder / MARKER, self._staging.folder.stat().st_uid
        _unfinished.add(marker)
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                os.rename(self._staging.folder, marker)
                return
            except PermissionError:
                if not self._staging.is_locked:
                    raise
                self._staging.release()
                continue
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            if settle(self.folder, user):
                continue
            if time.monotonic() > deadline:
                raise OutputError(
                    f"Cannot write to {self.folder}: {who(marker)} is putting results there. Wait for it. If it is "
                    f"over, remove {marker}: results beside it may be of two runs."
                )
            time.sleep(0.01)

    def _unmark(self) -> None:
        os.rename(self.folder / MARKER, self._staging.folder)
        _unfinished.discard(self.folder / MARKER)

    def _end(self, *, failed: bool) -> None:
        """Finish a set that an interruption stopped among its moves; take away what is not needed any more."""
        marker = self.folder / MARKER
        if (marker / self._staging.lock_path.name).exists():
            with contextlib.suppress(OSError):
                journal = self._journal()
                try:
                    journal.forward(marker)
                except OSError:
                    journal.back(marker)
                self._unmark()
        else:
            _unfinished.discard(marker)
        self._staging.remove()
        if failed:
            for folder in sorted(self._made, key=lambda f: len(f.parts), reverse=True):
                with contextlib.suppress(OSError):
                    folder.rmdir()


@contextmanager
def together(folder: Path, *, overwrite: bool = True, clean: bool = False) -> Iterator[FileSet]:
    """Within: a set of files of `folder`, which is made where it is missing. They appear when the block ends well.

    When the block raises, KeyboardInterrupt too, every file and folder is as it was before. An interruption while the
    files move is raised when all have moved.

    Args:
        folder: where the files go, or into folders of it.
        overwrite: whether files that are there may be replaced.
        clean: whether `recover` has seen to the folder; here it is called otherwise.

    Raises:
        OutputError: the system refuses (no permission, disk full, ...), or a file exists and `overwrite` is off.
    """
    if not clean:
        recover(folder)
    files, failed = FileSet(folder, overwrite=overwrite), True
    try:
        try:
            files._begin()
        except OSError as error:
            raise output_error(error, folder) from error
        yield files
        try:
            files._complete()
        except OSError as error:
            raise output_error(error, Path(error.filename2 or error.filename or folder)) from error
        failed = False
    finally:
        files._end(failed=failed)


@contextmanager
def replacing(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary file (same suffixes) to write to; it becomes `path` when the block ends well.

    When the block raises, KeyboardInterrupt too, `path` stays as it was. What killed runs left beside it goes.
    Raises OutputError as `together` does. The folder must exist.
    """
    with together(path.parent, overwrite=overwrite) as files:
        try:
            yield files.new(path)
        except OSError as error:
            raise output_error(error, path) from error


def wait_for_others(folder: Path) -> None:
    """Wait while another run gives files of a folder their places, for WAIT_S at most."""
    deadline = time.monotonic() + WAIT_S
    while (folder / MARKER).exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def rehearse(folder: Path) -> None:
    """Do in a folder what writing a set there will do, with an empty file. Raises OSError where that is refused."""
    staging = Staging(folder)
    try:
        staging.make()
        trial = staging.folder / f"{staging.token}.trial"
        trial.write_bytes(b"trial")
        sync(trial)
        moved = staging.folder.with_name(f"{staging.folder.name}.trial")
        os.rename(trial, moved)
        moved.unlink()
        sync_folder(folder)
    finally:
        staging.remove()


def unfinished() -> list[Path]:
    """Markers of this process's sets that it could neither finish nor undo."""
    return [marker for marker in _unfinished if marker.exists()]
