"""A disk that is full, for some files only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from umlite.outputs.file_set import FileSet

needs_full_disk = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def full_disk(monkeypatch: pytest.MonkeyPatch, full: Callable[[Path], bool]) -> None:
    """Files of which `full` is true are written to a device that is really full."""
    new = FileSet.new

    def on_full_disk(files: FileSet, path: Path, **options: bool) -> Path:
        staged = new(files, path, **options)
        if full(path):
            staged.symlink_to("/dev/full")
        return staged

    monkeypatch.setattr(FileSet, "new", on_full_disk)
