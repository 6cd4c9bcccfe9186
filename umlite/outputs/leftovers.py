"""What killed runs left in a folder: finished, undone or removed by the next run there. Live runs are left alone."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from umlite.errors import OutputError
from umlite.outputs.journal import Journal
from umlite.outputs.staging import MARKER, Staging, hidden_names, hidden_path, owner_of, remove, taken_over


def recover(home: Path) -> None:
    """Finish the set that a killed run was putting into a folder, and remove the hidden files of dead runs.

    What cannot be removed stays; what belongs to another user or to a live run is not touched.
    Raises OutputError where a set can neither be finished nor undone.
    """
    found = hidden_names(home)
    if not found:
        return
    mine = Staging(home)
    try:
        try:
            mine.make()
            user = mine.folder.stat().st_uid  # some shares give all files one owner
        except OSError:
            return  # nothing can be changed here; writing will say why
        for path in found:
            if path.name == MARKER:
                settle(home, user)
            elif _is_of(path, user):
                with taken_over(path) as is_ours:
                    if is_ours:
                        remove(path)
    finally:
        mine.remove()


def settle(home: Path, user: int) -> bool:
    """Finish, or else undo, the set of a dead run that waits under the marker. False: it is a live run's.

    user: whose files are taken as one's own: a journal of others could lead anywhere.
    Raises OutputError where neither works.
    """
    marker = home / MARKER
    with taken_over(marker) as is_ours:
        if not is_ours or not marker.exists():
            return False
        journal = Journal.read(home, marker) if _is_of(marker, user) else None
        if journal is None:
            raise OutputError(
                f"{home} holds an incomplete set of results, and {marker} does not say of which: another user's run "
                f"was killed there, or the folder is damaged. Remove {marker} and write the results again."
            )
        try:
            journal.forward(marker)
        except OSError as error:
            try:
                journal.back(marker)
            except OSError:
                raise OutputError(
                    f"{home} holds an incomplete set of results of a killed run ({len(journal.moves)} files, listed "
                    f"in {marker}), which can be neither finished nor undone: {error.strerror or error}."
                ) from error
        trash = hidden_path(home, secrets.token_hex(6))
        os.rename(marker, trash)  # in one step: a marker that is being removed file by file would tell nothing
        remove(trash)
    return True


def own_parents(folder: Path) -> Iterator[Path]:
    """The parents of a folder, as far up as they belong to the same user and lie on the same disk."""
    with contextlib.suppress(OSError):
        lower = os.stat(folder)
        for parent in Path(os.path.abspath(folder)).parents:
            upper = os.stat(parent)
            if (upper.st_uid, upper.st_dev) != (lower.st_uid, lower.st_dev):
                return
            yield parent


def who(marker: Path) -> str:
    """Names the run that holds a marker, for a message."""
    owner = owner_of(marker)
    return f"process {owner.pid} on {owner.host}" if owner else "another run"


def _is_of(path: Path, user: int) -> bool:
    with contextlib.suppress(OSError):
        return path.lstat().st_uid == user
    return False
