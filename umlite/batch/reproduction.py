"""A run again, from its manifest: whether it gives the same files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umlite.batch.jobs import Job
from umlite.batch.model import Model
from umlite.batch.orders import Orders
from umlite.batch.run import run_jobs
from umlite.dicom.finding import find_series, is_dicom_path
from umlite.errors import InputError, WeightsError
from umlite.files import file_sha256
from umlite.products.content import content_of
from umlite.products.formats import Format, format_of
from umlite.products.place import Place
from umlite.products.recorded import Output, Recorded
from umlite.progress import Progress, no_progress
from umlite.weights.store import BUNDLED, installed

if TYPE_CHECKING:
    from umlite.api import Segmenter
    from umlite.dicom.series import Series


@dataclass(frozen=True)
class Reproduction:
    """The outcome.

    Args:
        same, different: files of the manifest, by their names there.
        not_compared: files that hold times, or that were written outside the result's folder.
        changed: (what, then, now) of versions that differ.
    """

    same: tuple[str, ...]
    different: tuple[str, ...]
    not_compared: tuple[str, ...]
    changed: tuple[tuple[str, str, str], ...]

    @property
    def passed(self) -> bool:
        """Whether every file that was compared is the same, and there was one."""
        return bool(self.same) and not self.different

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**asdict(self), "passed": self.passed}


def find_weights(manifest: Recorded) -> Path:
    """The file of the manifest's weights, wherever it is now. Raises WeightsError if there is none with its hash."""
    places = [*installed().values(), *BUNDLED.values(), Path(manifest.weights)]
    named = [path for path in places if path.stem == manifest.weights_name]
    for path in [*named, *(path for path in places if path not in named)]:
        if path.is_file() and file_sha256(path) == manifest.weights_sha256:
            return path
    raise WeightsError(
        f"The weights of this run, {manifest.weights_name!r} with SHA-256 {manifest.weights_sha256}, are not here. "
        "Install them, or name their file.",
        about="weights",
    )


def find_packs(manifest: Recorded, given: Sequence[Path] = (), folders: Sequence[Path] = ()) -> tuple[Path, ...]:
    """The files of the manifest's packs, by their hashes: among the given ones, or by name in some folders.

    Raises:
        WeightsError: one is nowhere, or a given file is none of them.
    """
    hashes = {file_sha256(path): path for path in given if path.is_file()}
    found = []
    for name, sha256 in manifest.packs:
        places = [hashes[sha256]] if sha256 in hashes else [folder / Path(name).name for folder in folders]
        place = next((path for path in places if path.is_file() and file_sha256(path) == sha256), None)
        if place is None:
            raise WeightsError(
                f"The pack {name} of this run, with SHA-256 {sha256}, is not here. Name its file.", about="packs"
            )
        found.append(place)
    return tuple(found)


def find_scan(manifest: Recorded, path: Path | None = None) -> tuple[Path, Series | None]:
    """The scan of the manifest, and its series if it is DICOM.

    Args:
        manifest: of the run.
        path: where the scan is now; None for where it was.

    Raises:
        InputError: it is not there, or its content is another.
    """
    path = path or Path(manifest.scan)
    if not path.exists():
        raise InputError(f"The scan of this run is not at {path}. Say where it is now.", about="scan")
    candidates: tuple[Series | None, ...] = (None,)
    if path.is_dir() or is_dicom_path(path):
        candidates = find_series([path]).choose(manifest.series_uid, fill_gaps=manifest.fill_gaps)
    for series in candidates:
        if (found := content_of(path, series).sha256) == manifest.scan_sha256:
            return path, series
    raise InputError(
        f"{path} is not the scan of this run: expected content with SHA-256 {manifest.scan_sha256}, found {found}.",
        about="scan",
    )


def reproduce(
    manifest: Recorded,
    segmenter: Segmenter,
    scan: tuple[Path, Series | None],
    folder: Path,
    *,
    progress: Progress = no_progress,
) -> Reproduction:
    """Run again what a manifest tells, and compare the files.

    Args:
        manifest: of the earlier run.
        segmenter: with its weights and options.
        scan: its scan (`find_scan`).
        folder: for the new result.
        progress: called with the number of windows done and the number of all windows.

    Raises:
        UmliteError: as the run itself.
    """
    chosen = format_of(None, manifest.wanted.format)
    main = folder if chosen.is_folder else folder / _main_file(manifest, chosen)
    job = Job(scan[0], Place(main, chosen.is_folder), scan[1], chosen.name)
    orders = Orders(manifest.request, manifest.wanted)
    (outcome,) = run_jobs(Model.of(segmenter), [job], orders, progress_of=lambda _name: progress)
    if outcome.error is not None:
        raise outcome.error
    made = {entry["file"]: entry["sha256"] for entry in (outcome.manifest or {})["outputs"]}
    compared = [one for one in manifest.outputs if _is_compared(one)]
    same = tuple(one.file for one in compared if made.get(one.file) == one.sha256)
    return Reproduction(
        same,
        tuple(one.file for one in compared if one.file not in same),
        tuple(one.file for one in manifest.outputs if not _is_compared(one)),
        tuple(_changed(manifest.data, outcome.manifest or {})),
    )


def _is_compared(output: Output) -> bool:
    return output.exact and not Path(output.file).is_absolute()


def _main_file(manifest: Recorded, chosen: Format) -> str:
    """The name of a result that is one file: the endings of one format can mean different files."""
    names = [Path(one.file).name for one in manifest.outputs]
    return next((name for name in names if name.lower().endswith(chosen.endings)), f"scan{chosen.ending}")


def _changed(then: dict[str, Any], now: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    facts = [
        {"umlite": one.get("umlite"), **one.get("versions", {}), **one["engine"]["options"]} for one in (then, now)
    ]
    for name in facts[1]:
        if facts[0].get(name) != facts[1][name]:
            yield name, str(facts[0].get(name)), str(facts[1][name])
