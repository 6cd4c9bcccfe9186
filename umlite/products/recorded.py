"""A run manifest that is read back. It is data from anywhere, so everything in it is checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umlite.engines.options import EngineOptions
from umlite.errors import InputError, RequestError
from umlite.files import read_json
from umlite.products.manifest import KIND, SCHEMA
from umlite.products.wanted import Wanted
from umlite.request import Request

MOST_BYTES = 1 << 25


@dataclass(frozen=True)
class Output:
    """A file of a result, as its manifest names it.

    file: from the folder of the result, or a whole path. exact: whether the same run gives the same bytes.
    """

    file: str
    bytes: int
    mtime_ns: int
    sha256: str
    exact: bool


@dataclass(frozen=True)
class Recorded:
    """A manifest.

    data: all of it. scan, weights: where they were. The hashes are of their content. series_uid: of DICOM.
    fill_gaps: whether its missing planes were interpolated. packs: (name of its file, hash) of each.
    """

    data: dict[str, Any]
    scan: str
    scan_sha256: str
    series_uid: str | None
    fill_gaps: bool
    weights: str
    weights_name: str
    weights_sha256: str
    packs: tuple[tuple[str, str], ...]
    request: Request
    wanted: Wanted
    options: EngineOptions
    outputs: tuple[Output, ...]

    @property
    def hashes(self) -> tuple[str, ...]:
        """SHA-256 of the weights' file and of each pack."""
        return (self.weights_sha256, *(sha256 for _, sha256 in self.packs))


def read_manifest(path: Path) -> Recorded:
    """Read a run manifest from a file. Raises InputError where it is none, or one of a later version."""
    try:
        data = read_json(path, MOST_BYTES)
    except OSError as error:
        raise InputError(f"Cannot read {path} ({error.strerror or error}).") from error
    except ValueError as error:
        raise InputError(f"{path} is no run manifest: expected the JSON that a run wrote ({error}).") from error
    return recorded(data, str(path))


def recorded(data: Any, label: str) -> Recorded:
    """Check the content of a manifest. label: what messages call it. Raises InputError as `read_manifest`."""
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise InputError(f"{label} is no run manifest: expected the JSON that a run wrote.")
    if data.get("schema") != SCHEMA:
        raise InputError(
            f"{label} is a manifest of version {data.get('schema')!r:.20}, expected {SCHEMA}: another umlite wrote it."
        )
    try:
        scan, weights = data["input"], data["weights"]
        texts = [scan["path"], scan["sha256"], weights["file"], weights["name"], weights["sha256"]]
        if not all(isinstance(text, str) and "\0" not in text for text in texts):
            raise TypeError("a path, name or hash is no text")
        packs = tuple((str(pack["file"]), str(pack["sha256"])) for pack in weights["packs"])
        uid = scan.get("series_uid")
        outputs = tuple(_output(one) for one in data["outputs"])
        request, wanted = Request.from_dict(data["request"]), Wanted.from_dict(data["wanted"])
        options = EngineOptions.from_dict(data["engine"]["options"])
    except (KeyError, TypeError, AttributeError, RequestError) as error:
        raise InputError(f"{label} is a damaged run manifest ({error!s:.200}).") from error
    series_uid, fill_gaps = (uid if isinstance(uid, str) else None), scan.get("fill_gaps") is True
    path, scan_sha256, file, name, weights_sha256 = texts
    scan_facts = (path, scan_sha256, series_uid, fill_gaps)
    return Recorded(data, *scan_facts, file, name, weights_sha256, packs, request, wanted, options, outputs)


def _output(entry: Any) -> Output:
    found = Output(entry["file"], entry["bytes"], entry["mtime_ns"], entry["sha256"], entry["exact"])
    right = [isinstance(found.file, str) and "\0" not in found.file, isinstance(found.sha256, str)]
    if not all(right) or type(found.bytes) is not int or type(found.mtime_ns) is not int:
        raise TypeError("an output is damaged")
    return found
