"""A disk that is full, for some files only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from umlite.files import replacing
from umlite.results import writing

needs_full_disk = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def full_disk(monkeypatch: pytest.MonkeyPatch, full: Callable[[Path], bool]) -> None:
    """Files of which `full` is true are written to a device that is really full."""

    @contextmanager
    def on_full_disk(path: Path, **options: Any) -> Iterator[Path]:
        with replacing(path, **options) as temporary:
            if full(path):
                temporary.unlink()
                temporary.symlink_to("/dev/full")
            yield temporary

    monkeypatch.setattr(writing, "replacing", on_full_disk)
