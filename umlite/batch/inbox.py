"""A folder that scans arrive in: which of them are complete, and what becomes of those that fail.

Nothing is kept but in memory: after a restart, run manifests tell what is done, and what fails is tried anew.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from umlite.batch.inputs import SUFFIXES, expand
from umlite.batch.told import Told
from umlite.errors import DeviceError, OutputError, WeightsError
from umlite.files import output_error, sync, sync_folder
from umlite.outputs.file_set import replacing
from umlite.outputs.staging import hidden_path, remove

ARCHIVES = (".zip",)
_LONGEST_S = 600.0
_OURS = (OutputError, DeviceError, WeightsError)
"""Errors that say nothing against a scan: it is tried again for as long as it takes."""

Signature = tuple[int, int, int]
"""Number of files, bytes and newest time of change."""


@dataclass(frozen=True)
class InboxOptions:
    """How a folder is watched.

    Args:
        folder: the inbox.
        output: of results; not watched if it lies inside.
        quarantine: where scans go that fail again and again.
        still_s: seconds without a change after which a file or folder counts as complete.
        attempts: how often a bad scan is tried.
    """

    folder: Path
    output: Path
    quarantine: Path
    still_s: float = 10.0
    attempts: int = 3


@dataclass
class _Unit:
    """A file, or a folder of DICOM. since: when its signature was first seen. due: when it is to be tried."""

    signature: Signature
    since: float
    due: float = 0.0
    failures: int = 0
    is_settled: bool = False


@dataclass
class Inbox:
    """What lies in the folder, and how far each of it is."""

    options: InboxOptions
    _units: dict[Path, _Unit] = field(default_factory=dict)

    def ready(self) -> list[Path]:
        """Look, and give what has been still for long enough and is to be tried now."""
        now, present = time.monotonic(), {}
        for path in self._found():
            if (signature := signature_of(path)) is None:
                continue
            unit = self._units.get(path)
            if unit is None or unit.signature != signature:
                unit = _Unit(signature, now)
            present[path] = unit
        self._units = present
        return [path for path, unit in present.items() if self._is_ready(unit, now)]

    @property
    def is_waiting(self) -> bool:
        """Whether anything is there that has neither been done nor tried as often as a bad scan is."""
        return any(not unit.is_settled and unit.failures < self.options.attempts for unit in self._units.values())

    def settle(self, path: Path, failed: list[Told]) -> str:
        """Note how a unit went. Returns a sentence if it was moved to the quarantine.

        Raises OutputError where that cannot be written to.
        """
        unit = self._units[path]
        if not failed:
            unit.is_settled = True
            return ""
        unit.failures += 1
        unit.due = time.monotonic() + min(self.options.still_s * 2**unit.failures, _LONGEST_S)
        bad = [told for told in failed if not isinstance(told.error, _OURS)]
        if not bad or unit.failures < self.options.attempts:
            return ""
        del self._units[path]
        return self._put_aside(path, bad[0])

    def _is_ready(self, unit: _Unit, now: float) -> bool:
        return not unit.is_settled and now - unit.since >= self.options.still_s and now >= unit.due

    def _found(self) -> Iterator[Path]:
        """Scans, archives, and folders without scans, which may hold DICOM."""
        others = {os.path.realpath(path) for path in (self.options.quarantine, self.options.output)}
        try:
            entries = sorted(self.options.folder.iterdir())
        except OSError:
            return  # a share that is away for a while
        for entry in entries:
            if entry.name.startswith(".") or os.path.realpath(entry) in others:
                continue
            if entry.is_dir():
                yield from expand([entry], self.options.output).paths
            elif entry.name.lower().endswith(SUFFIXES + ARCHIVES):
                yield entry

    def _put_aside(self, path: Path, told: Told) -> str:
        folder = self.options.quarantine
        target = folder / path.relative_to(self.options.folder)
        while os.path.lexists(target):
            target = target.with_name(f"{target.name}_again")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target.with_name(f"{target.name}.error.json")) as temporary:
                temporary.write_text(
                    json.dumps({"scan": str(path), "error": str(told.error), "code": told.code}) + "\n"
                )
            _move(path, target)  # last: a scan that is still in the inbox is tried, and told of, again
        except OSError as error:
            raise output_error(error, target) from error
        return f"{path} failed {self.options.attempts} times and was moved to {target}."


def _move(path: Path, target: Path) -> None:
    """Give a file or folder another name, whole, on another disk too. Raises OSError."""
    try:
        os.rename(path, target)
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    copy = hidden_path(target.parent, secrets.token_hex(6))
    try:
        if path.is_dir():
            shutil.copytree(path, copy, symlinks=True)
        else:
            shutil.copy2(path, copy)
        for file in (file for file in (copy, *copy.rglob("*")) if file.is_file()):
            sync(file)
        os.rename(copy, target)
    finally:
        remove(copy)
    sync_folder(target.parent)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def signature_of(path: Path) -> Signature | None:
    """What a change of a file, or of any file in a folder, changes; None where it is gone or empty."""
    count = size = newest = 0
    try:
        files = [path] if path.is_file() else [Path(top) / name for top, _, names in os.walk(path) for name in names]
        for file in files:
            status = file.stat()
            count, size, newest = count + 1, size + status.st_size, max(newest, status.st_mtime_ns)
    except OSError:
        return None
    return (count, size, newest) if count else None
