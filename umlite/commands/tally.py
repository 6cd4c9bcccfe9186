"""What a run of several scans says while it goes on, and at its end: lines, JSON, a list of what failed."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import IO, Any

from umlite.batch.told import Told
from umlite.commands.options import IMPLIED
from umlite.commands.reporting import BAD_INPUT, DEFECT, SOME_FAILED, message_of, prefixed
from umlite.errors import OutputError, UmliteError
from umlite.files import output_path
from umlite.request import Request
from umlite.terminal import show, show_table, tell

MOST_ENTRIES = 1000
"""Scans whose entries the one JSON object holds; of later ones it counts, and names those that failed."""
MOST_TABLES = 20
"""Scans of a run that gets a table for each; a larger one gets a line."""
FAILED = "failed.jsonl"


class Tally:
    """Counts and shows outcomes. Its memory does not grow with the scans beyond MOST_ENTRIES.

    Args:
        scans: how many there will be.
        request: what is asked of those whose jobs say nothing else.
        silent: whether only warnings and errors are shown.
        keep: whether entries are kept for one JSON object.
        jsonl: file that gets a line for each scan as it ends; "-" for stdout.
        failed: file for the scans that failed, which `--jobs` takes; None for none. An older one stays until the first
            failure, or until all scans ended without one.

    Raises:
        OutputError: the file of lines cannot be written, or is a file of something else.
    """

    def __init__(
        self, scans: int, request: Request, *, silent: bool, keep: bool, jsonl: str | None, failed: Path | None
    ) -> None:
        self.count, self._request = scans, request
        self.silent, self._keep, self._failed = silent, keep, failed
        self.done = self.skipped = self.failed = self.copied = 0
        self._defect = False
        self._engine: dict[str, dict[str, None]] = {}
        self._scans: list[dict[str, Any]] = []
        self._start = time.monotonic()
        if jsonl not in (None, "-"):
            jsonl = str(output_path(jsonl)) if jsonl else ""
            _check_lines(jsonl)
        self._lines = _Lines(jsonl)
        self._failures = _Lines(None)

    @property
    def code(self) -> int:
        """The exit code: of one scan that failed its own, of several SOME_FAILED."""
        if self._defect:
            return DEFECT
        if self.failed:
            return SOME_FAILED if self.count > 1 else BAD_INPUT
        return 0

    def add(self, told: Told) -> None:
        """Show what became of a scan, and write it where it is wanted."""
        entry = told.entry
        if told.error is not None:
            self.failed += 1
            self._defect = self._defect or not isinstance(told.error, UmliteError)
            entry = {"scan": str(told.job.scan), "error": message_of(told.error), "code": told.code}
            self._note_failure(told, entry)
        elif told.skipped:
            self.skipped += 1
        else:
            self.done += 1
            self.copied += bool(told.same_content_as)
            self._note_engine(entry)
        if self._keep and (len(self._scans) < MOST_ENTRIES or (told.error and len(self._scans) < 2 * MOST_ENTRIES)):
            self._scans.append(entry)
        self._lines.write({"status": told.code, **{k: v for k, v in entry.items() if k != "manifest"}})
        self._show(told)

    def standing(self) -> str:
        """How far the run is: the scans by what became of them, and their pace."""
        before = f", {self.skipped} done before" if self.skipped else ""
        copied = f", {self.copied} of them as copies" if self.copied else ""
        failed = f", {self.failed} failed" if self.failed else ""
        hours = (time.monotonic() - self._start) / 3600
        pace = f", {self.done / hours:,.0f} an hour" if self.done > 1 else ""
        return f"{self.done} of {self.count} scans segmented{copied}{before}{failed}{pace}"

    def summary(self) -> str:
        """A sentence about all scans of the run."""
        listed = f" {self._failed} lists them for another run." if self.failed and self._failures.path else ""
        return f"{self.standing()}.{listed}"

    def scans(self) -> dict[str, Any]:
        """Entries and counts of all scans, ready for JSON; empty before the first."""
        if not self._scans:
            return {}
        ended = self.done + self.skipped + self.failed
        left_out = {"left_out": ended - len(self._scans)} if ended > len(self._scans) else {}
        counts = {"done": self.done, "copied": self.copied, "skipped": self.skipped, "failed": self.failed}
        return {"scans": self._scans, **left_out, **counts}

    def close(self) -> None:
        """Close the files. An older list of failures goes if all scans ended without one."""
        self._lines.close()
        self._failures.close()
        if self._failed is not None and not self.failed and self.done + self.skipped == self.count:
            with contextlib.suppress(OSError):
                self._failed.unlink(missing_ok=True)

    @property
    def engine(self) -> dict[str, str]:
        """Engines and devices that computed the scans of this run, as their manifests say; empty where none did."""
        return {name: ", ".join(values) for name, values in self._engine.items()}

    def _note_engine(self, entry: dict[str, Any]) -> None:
        if "same_content_as" not in entry:
            options = entry["manifest"]["engine"]["options"]
            for name in ("engine", "device"):
                self._engine.setdefault(name, {})[options[name]] = None

    def _note_failure(self, told: Told, entry: dict[str, Any]) -> None:
        """Add a line to the list of failed scans, with all that a job says."""
        if self._failed is None:
            return
        if self._failures.path is None:
            self._failures = _Lines(str(self._failed))
        job = told.job
        request = (job.request or self._request).to_dict()
        asked = {name: value for name, value in request.items() if name not in IMPLIED}
        source = job.scan if job.series is None else job.series.path
        uid = job.asked_series if job.series is None else job.series.about.uid
        asked |= {"fill_gaps": True} if job.fill_gaps else {}
        series = {} if uid is None else {"series": uid}
        places = {"scan": os.path.abspath(source), "output": os.path.abspath(job.output), "format": job.format}
        self._failures.write({**places, **series, **asked, "error": entry["error"], "code": entry["code"]})

    def _show(self, told: Told) -> None:
        name = told.job.scan.name
        if told.error is not None:
            tell(f"Error: {prefixed(told.job.scan, told.error)}")
            for line in told.trace:
                tell(f"  {line}")
            return
        for warning in told.warnings:
            tell(f"Warning: {name}: {warning}")
        for doubt in told.doubts:
            tell(f"Check: {name}: {doubt}")
        if self.silent:
            return
        if told.skipped:
            if self.count <= MOST_TABLES:
                show(f"{name}: done before, nothing to do. The result is in {told.job.output}")
            return
        for note in told.notes:
            tell(f"Note: {name}: {note}")
        if self.count > MOST_TABLES or told.same_content_as:
            show(f"{name}: {told.closing}")
            return
        show_table(("class", "volume (ml)", "voxels"), told.rows, right=(1, 2), title=name)
        show(told.closing)


def _check_lines(name: str) -> None:
    """Raise OutputError where JSON lines cannot go to this file, or it holds something else that they would replace."""
    try:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        if os.path.isfile(name):
            with open(name, "rb") as file:
                if file.read(1) not in (b"", b"{"):
                    raise OutputError(f"{name} exists and holds no JSON lines. Choose another file.", about="jsonl")
        if not Path(name).is_fifo():  # opening one waits for its reader
            open(name, "ab").close()
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"Cannot write JSON lines to {name!r} ({reason}). Choose a file.", about="jsonl") from error


class _Lines:
    """A file of JSON lines, each written through when its scan ends. What cannot be written is said once."""

    def __init__(self, name: str | None) -> None:
        self.path = name
        self._file: IO[str] | None = None
        if name == "-":
            self._file = sys.stdout
        elif name is not None:
            try:
                Path(name).parent.mkdir(parents=True, exist_ok=True)
                self._file = open(name, "w", encoding="utf-8")  # noqa: SIM115
            except OSError as error:
                self._give_up(error)

    def write(self, entry: dict[str, Any]) -> None:
        """Write one line."""
        if self._file is None:
            return
        try:
            print(json.dumps(entry, allow_nan=False), file=self._file, flush=True)
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None and self._file is not sys.stdout:
            with contextlib.suppress(OSError):
                self._file.close()

    def _give_up(self, error: OSError) -> None:
        tell(f"Warning: {self.path} cannot be written ({error.strerror or error}). Results are not affected.")
        self._file = None
