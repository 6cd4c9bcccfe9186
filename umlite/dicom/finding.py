"""From paths to series: folders, archives and files are searched, and what is no part of a series is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from umlite.dicom.archive import Archive
from umlite.dicom.header import Header, is_dicom, read_header
from umlite.dicom.library import pydicom, quietly
from umlite.dicom.series import Series, series_of
from umlite.dicom.sources import Source, files_of
from umlite.errors import InputError, RequestError
from umlite.machine.threads import available_threads
from umlite.volume.formats import DICOM, HEAD_BYTES, format_of
from umlite.volume.unpacking import reading

_DIRECTORY = "1.2.840.10008.1.3.10"
_MOST_THREADS = 8
_ZIP = b"PK\x03\x04"


@dataclass(frozen=True, eq=False)
class Found:
    """What paths hold.

    series: all of them, in the order of their numbers. foreign: names of files that are no DICOM. damaged: a sentence
    for each file that is DICOM and cannot be read.
    """

    paths: tuple[Path, ...]
    series: tuple[Series, ...]
    foreign: tuple[str, ...]
    damaged: tuple[str, ...]

    def choose(self, wanted: str | None = None, *, fill_gaps: bool = False) -> tuple[Series, ...]:
        """The series to segment: by default every CT that is axial and has at least 10 slices.

        Args:
            wanted: numbers in the list or UIDs, joined by commas; "all" for every CT scan whatever its planes.
            fill_gaps: interpolate slices where they are missing or uneven.

        Raises:
            RequestError: a number or UID that does not exist, or of a series that is no scan.
            InputError: nothing to segment.
        """
        if wanted is None or wanted.strip().lower() == "all":
            chosen = [one for one in self.series if one.is_scan and (wanted is not None or not one.reason)]
            if not chosen:
                raise InputError(self._nothing(), about="series" if self.series else ())
        else:
            chosen = self._named([word.strip() for word in wanted.split(",") if word.strip()])
        return tuple(dataclasses.replace(one, fill_gaps=fill_gaps) for one in chosen)

    def _named(self, words: list[str]) -> list[Series]:
        known = {str(one.number) for one in self.series} | {one.about.uid for one in self.series}
        if unknown := [word for word in words if word not in known]:
            raise RequestError(
                f"{self._where} has no series {unknown[0]}: expected a number from 1 to {len(self.series)}, a UID of "
                f"theirs, or all.",
                about="series",
            )
        chosen = [one for one in self.series if str(one.number) in words or one.about.uid in words]
        for one in chosen:
            if not one.is_scan:
                raise RequestError(f"{one.label} cannot be segmented: {one.reason}.", about="series")
        return chosen

    @property
    def _where(self) -> str:
        return str(self.paths[0]) if len(self.paths) == 1 else f"{self.paths[0]} and {len(self.paths) - 1} more"

    def _nothing(self) -> str:
        if not self.series:
            if self.damaged:
                more = f" {len(self.damaged) - 1} more are damaged too." if len(self.damaged) > 1 else ""
                return f"{self._where} holds no DICOM that can be read, expected a CT series: {self.damaged[0]}{more}"
            if self.paths[0].is_file() and _is_zip(self.paths[0]):
                return f"{self._where} is a ZIP archive without DICOM files: expected a CT series. Check the path."
            return f"{self._where} holds no DICOM files, and no scans as NIfTI or NRRD files. Check the path."
        told = "; ".join(f"series {s.number} ({s.reason})" for s in self.series[:5])
        more = f"; and {len(self.series) - 5} more" if len(self.series) > 5 else ""
        advice = (
            " Choose one by its number." if any(s.is_scan for s in self.series) else " Export the CT series itself."
        )
        return (
            f"{self._where} is DICOM without a CT to take: expected an axial one of at least 10 slices, found "
            f"{told.rstrip('.')}{more}.{advice}"
        )


def is_dicom_path(path: Path) -> bool:
    """Whether a path is to be read as DICOM: a folder, a zip archive or a DICOM file. Raises InputError."""
    with reading(path):
        if path.is_dir():
            return True
        if not path.is_file():
            return False
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    return head.startswith(_ZIP) or format_of(head) == DICOM


def find_series(paths: Sequence[Path]) -> Found:
    """Search folders, zip archives and files. A DICOMDIR stands for its folder. Nothing is unpacked to disk.

    Raises InputError for a path that cannot be read, and where the package for DICOM is missing.
    """
    pydicom()
    headers: list[Header] = []
    foreign: list[str] = []
    damaged: list[str] = []
    with quietly(), ThreadPoolExecutor(min(_MOST_THREADS, available_threads()[0])) as pool:
        for source, found in pool.map(_read, _sources(paths)):
            if found is None:
                foreign.append(source.name)
            elif isinstance(found, InputError):
                damaged.append(str(found))
            elif found.class_uid != _DIRECTORY:
                headers.append(found)
        series = series_of(paths[0] if len(paths) == 1 else paths[0].parent, headers)
    if damaged:
        series = [dataclasses.replace(one, left_out=(*one.left_out, *damaged)) for one in series]
    return Found(tuple(paths), tuple(series), tuple(foreign), tuple(damaged))


def _read(source: Source) -> tuple[Source, Header | InputError | None]:
    """The header of a file, what is wrong with it, or None for one that is no DICOM."""
    try:
        if not is_dicom(source):
            return source, None
        header = read_header(source)
        is_something = header.class_uid or header.start is not None or len(header.data)
        return source, header if is_something else None
    except InputError as error:
        return source, error


def _sources(paths: Sequence[Path]) -> Iterator[Source]:
    for path in paths:
        if path.is_file() and _is_zip(path):
            yield from Archive(path).members()
        elif path.is_file() and path.name.upper() == "DICOMDIR":
            yield from files_of([path.parent])
        else:
            yield from files_of([path])


def _is_zip(path: Path) -> bool:
    with reading(path), open(path, "rb") as file:
        return file.read(4) == _ZIP
