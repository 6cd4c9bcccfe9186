"""Jobs from a file: CSV with a heading, or JSON lines, one scan each with all that is asked of it."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from umlite.errors import RequestError
from umlite.files import expanded, output_path
from umlite.records import from_fields
from umlite.request import Request

TOLD = ("error", "code", "attempts")
"""What a list of failed scans says besides; not asked for again."""
_MOST_LINE = 1 << 20
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Entry:
    """One scan of a list.

    Args:
        scan: the file or folder.
        output: where its result goes; None for the place that it has among all scans.
        series: which DICOM series; None for the default.
        format: name of the masks' format; None for that of all.
        request: what is asked of it; None for what is asked of all.
        fill_gaps: whether missing DICOM slices are interpolated; None for what is asked of all.
    """

    scan: Path
    output: Path | None = None
    series: str | None = None
    format: str | None = None
    request: Request | None = None
    fill_gaps: bool | None = None


def read_jobs(path: Path, request: Request) -> Iterator[Entry]:
    """Entries of a file: `scan`, and where wanted `output`, `series`, `fill_gaps`, `format` and fields of
    `Request`.

    Args:
        path: a .csv file, or JSON lines under any other name; `-` for JSON lines on standard input.
        request: what is asked where an entry says nothing.

    Raises:
        RequestError: the file cannot be read, or a line is none of this; the message names the line.
    """
    try:
        if str(path) == "-":
            yield from _entries(_json_lines(sys.stdin), request, path)
            return
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = _table(file) if path.suffix.lower() == ".csv" else _json_lines(file)
            yield from _entries(rows, request, path)
    except (OSError, UnicodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or ("it is no text" if isinstance(error, UnicodeError) else error)
        raise RequestError(
            f"Cannot read jobs from {path} ({reason}): expected a CSV with a heading, or JSON lines.", about="jobs"
        ) from error


def _json_lines(file: TextIO) -> Iterator[tuple[int, Any]]:
    number = 0
    while line := file.readline(_MOST_LINE):
        number += 1
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError):
            yield number, None


def _table(file: TextIO) -> Iterator[tuple[int, Any]]:
    for number, row in enumerate(csv.DictReader(file, restkey=""), start=2):
        yield number, {name: value for name, value in row.items() if value}


def _entries(rows: Iterator[tuple[int, Any]], request: Request, path: Path) -> Iterator[Entry]:
    for number, row in rows:
        try:
            yield _entry(row, request)
        except RequestError as error:
            raise RequestError(f"{path}, line {number}: {error}", about="jobs") from error


def _entry(row: Any, request: Request) -> Entry:
    if not isinstance(row, dict):
        raise RequestError('expected a JSON object, such as {"scan": "ct.nii.gz", "classes": "liver"}.')
    fields = {name: value for name, value in row.items() if name not in TOLD}
    texts = {name: fields.pop(name, None) for name in ("scan", "output", "series", "format")}
    for name, value in texts.items():
        if value is not None and (not isinstance(value, str) or not value or "\0" in value):
            raise RequestError(f"expected {name} as text, found {value!r:.80}.")
    if texts["scan"] is None:
        raise RequestError("expected a scan, found none.")
    fill_gaps = fields.pop("fill_gaps", None)
    fill_gaps = _WORDS.get(fill_gaps.lower(), fill_gaps) if isinstance(fill_gaps, str) else fill_gaps
    if not isinstance(fill_gaps, bool | None):
        raise RequestError(f"expected fill_gaps as true or false, found {fill_gaps!r:.80}.")
    asked = _asked(fields, request) if fields else None
    output = None if texts["output"] is None else output_path(texts["output"])
    return Entry(expanded(texts["scan"]), output, texts["series"], texts["format"], asked, fill_gaps)


def _asked(fields: dict[str, Any], request: Request) -> Request:
    """The request with an entry's own fields. Text is read as the type of its field."""
    kinds = typing.get_type_hints(Request)
    if isinstance(fields.get("classes"), str):
        fields["classes"] = list(Request.of(fields["classes"]).classes or ())
    for name, value in fields.items():
        if isinstance(value, str) and kinds.get(name) is bool:
            fields[name] = _WORDS.get(value.lower(), value)
        elif isinstance(value, str) and kinds.get(name) is float:
            try:
                fields[name] = float(value)
            except ValueError:
                continue  # the record says what it expects
    return from_fields(Request, {**dataclasses.asdict(request), **fields}, "request")
