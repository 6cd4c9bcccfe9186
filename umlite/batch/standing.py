"""What is at a result's place already: the same result, an older or broken one of ours, or files of others.

The run manifest tells. It is data that anyone can have written: a damaged one counts as none.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from umlite.batch.jobs import Job
from umlite.batch.terms import Terms
from umlite.errors import InputError
from umlite.files import file_sha256
from umlite.products.content import content_of, size_and_time
from umlite.products.place import Place
from umlite.products.recorded import Output, Recorded, read_manifest


@dataclass(frozen=True)
class Standing:
    """What stands at a result's place.

    Args:
        manifest: what the manifest tells; None where there is none that can be used.
        manifest_file: where it is.
        is_same: whether it is of the same content, weights, request and products.
        is_done: whether, besides, every file of the result is as it was written.
        differs: what its run was asked otherwise, in words; empty where nothing is known.
    """

    manifest: Recorded | None = None
    manifest_file: Path | None = None
    is_same: bool = False
    is_done: bool = False
    differs: str = ""

    def listed(self, place: Place) -> frozenset[Path]:
        """The files that the manifest calls its result's."""
        outputs = () if self.manifest is None else self.manifest.outputs
        return frozenset(_path(output, place) for output in outputs)


def standing_of(job: Job, terms: Terms, *, verify_hashes: bool = False) -> Standing:
    """Find out what stands at a job's place. verify_hashes: read files that seem unchanged."""
    path = terms.manifest(job.place)
    if path is None:
        return Standing()
    try:
        manifest = read_manifest(path)
    except InputError:
        return Standing(manifest_file=path)
    if differs := _differences(manifest, terms):
        return Standing(manifest, path, differs=differs)
    if not _is_of(job, manifest):
        return Standing(manifest, path, differs="scan")
    listed = {_path(output, job.place): output for output in manifest.outputs}
    is_whole = listed.keys() >= {Path(os.path.abspath(file)) for file in terms.files(job.place)}
    is_done = is_whole and all(_is_there(p, output, verify_hashes) for p, output in listed.items())
    return Standing(manifest, path, is_same=True, is_done=is_done)


def _differences(manifest: Recorded, terms: Terms) -> str:
    pairs: tuple[tuple[Any, Any], ...] = (
        (manifest.request, terms.request),
        (replace(manifest.wanted, manifest=None), replace(terms.wanted, manifest=None)),
    )
    names = [f.name for its, ours in pairs for f in fields(ours) if getattr(its, f.name) != getattr(ours, f.name)]
    names += ["weights"] if manifest.hashes != terms.hashes else []
    names += ["precision"] if manifest.options.precision != terms.precision else []
    return ", ".join(name.replace("_", " ") for name in names)


def _is_of(job: Job, manifest: Recorded) -> bool:
    """Whether a manifest is of a job's scan: its path, size and time of change tell, or else its hash."""
    path = os.path.abspath(job.scan if job.series is None else job.series.path)
    known = manifest.data["input"]
    if job.series is not None and manifest.fill_gaps is not job.series.fill_gaps:
        return False
    try:
        seen = (path, *size_and_time(job.scan, job.series))
        if known.get("mtime_ns") and seen == (known["path"], known.get("bytes"), known["mtime_ns"]):
            return True
        return content_of(job.scan, job.series).sha256 == manifest.scan_sha256
    except (OSError, InputError):
        return False


def _is_there(path: Path, output: Output, verify_hash: bool) -> bool:
    """Whether a file is as it was written. One that was touched is read."""
    try:
        status = os.stat(path)
        if status.st_size != output.bytes:
            return False
        return (status.st_mtime_ns == output.mtime_ns and not verify_hash) or file_sha256(path) == output.sha256
    except OSError:
        return False


def _path(output: Output, place: Place) -> Path:
    return Path(os.path.abspath(place.home / output.file))
