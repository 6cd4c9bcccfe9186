"""A folder for temporary files where the system has none that can be written."""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from umlite.errors import OutputError
from umlite.files import output_error
from umlite.outputs.staging import Staging


def existing(folder: Path) -> Path:
    """The folder, or its closest parent that exists."""
    while not os.path.exists(folder):
        folder = folder.parent
    return folder


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Within: a folder for temporary files. Raises OutputError where the system refuses it, or a file in it."""
    try:
        with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except OSError as error:
        raise output_error(error, Path("a temporary file")) from error


def ensure_temporary_folder(instead: Sequence[Path] = ()) -> None:
    """Have Python's `tempfile`, which torch uses too, work in this process, for its whole life.

    Args:
        instead: folders that may hold a hidden one if the system has none; they need not exist. It goes with the
            process, or with the next run that looks for leftovers there.

    Raises:
        OutputError: no folder can be written.
    """
    try:
        tempfile.gettempdir()
        return
    except OSError:
        pass
    for folder in instead:
        staging = Staging(existing(folder))
        try:
            staging.make()
        except OSError:
            staging.remove()
            continue
        tempfile.tempdir = str(staging.folder.absolute())
        atexit.register(staging.remove)
        return
    raise OutputError(
        "There is no folder for temporary files: expected one that may be written, such as /tmp, with room in it. Set "
        "TMPDIR to such a folder."
    )
