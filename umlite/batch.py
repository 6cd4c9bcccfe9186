"""Several scans in one run: where each result goes, and one bad scan never stops the others."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from umlite.classes import AnatomyClass
from umlite.errors import OutputError, RequestError, UmliteError
from umlite.files import make_folder, output_error

if TYPE_CHECKING:
    from umlite.api import Request, Segmentation, Segmenter
    from umlite.inference.blending import Progress

SUFFIXES = (".nii.gz", ".nii", ".hdr", ".img")


@dataclass(frozen=True)
class Job:
    """A scan and where its result goes: a folder for masks, or a .nii/.nii.gz file for a label map."""

    scan: Path
    output: Path


@dataclass(frozen=True)
class Outcome:
    """What became of a job: a result and its files, or an error."""

    job: Job
    result: Segmentation | None = None
    files: tuple[Path, ...] = ()
    error: Exception | None = None


def plan_jobs(scans: Sequence[Path], output: Path | None, *, label_map: bool = False) -> list[Job]:
    """One job per scan, no two with the same output; a scan given twice is done once.

    One scan: `output` is its folder, or its label map when it ends in .nii or .nii.gz. Several: a folder with one
    entry per scan, named after it. Without `output`, NAME_segmentation (or NAME_segmentation.nii.gz) in this folder.
    label_map: one file per scan in place of a folder of masks.
    Raises RequestError when `output` is one file and the scans are several.
    """
    distinct = list({os.path.realpath(scan): scan for scan in reversed(scans)}.values())[::-1]
    names = _distinct_names(distinct)
    is_file = output is not None and output.name.lower().endswith((".nii", ".nii.gz"))
    if is_file and len(distinct) > 1:
        raise RequestError(
            f"{len(distinct)} scans cannot share the one file {output}: give a folder with -o, "
            "and --label-map for one label map per scan."
        )
    jobs = []
    for scan, name in zip(distinct, names, strict=True):
        ending = ".nii.gz" if label_map else ""
        if output is None:
            place = Path(f"{name}_segmentation{ending}")
        elif is_file or (len(distinct) == 1 and not label_map):
            place = output
        else:
            place = output / f"{name}{ending}"
        jobs.append(Job(scan, place))
    return jobs


def run_jobs(
    segmenter: Segmenter,
    jobs: Sequence[Job],
    classes: Request,
    *,
    overlap: float,
    overwrite: bool,
    progress_of: Callable[[str], Progress],
) -> Iterator[Outcome]:
    """Segment one scan after the other, each saved before the next is read. Errors are outcomes."""
    wanted = segmenter.classes.resolve(classes)
    for job in jobs:
        try:
            check_output(job, wanted, [other.scan for other in jobs], overwrite=overwrite)
            result = segmenter.segment(job.scan, classes, overlap=overlap, progress=progress_of(job.scan.name))
            yield Outcome(job, result, _save(result, job.output))
        except UmliteError as error:
            yield Outcome(job, error=error)
        except Exception as error:  # a defect of ours must not cost the other scans: the caller reports it in full
            yield Outcome(job, error=error)


def check_output(job: Job, classes: Sequence[AnatomyClass], scans: Sequence[Path], *, overwrite: bool) -> None:
    """Find out before the computation whether the result can be written.

    Raises OutputError when a file would be replaced without `overwrite`, a scan ever, or the folder refuses files.
    """
    is_file = job.output.name.lower().endswith((".nii", ".nii.gz"))
    files = [job.output] if is_file else [job.output / f"{c.name}.nii.gz" for c in classes]
    sources = {os.path.realpath(scan) for scan in scans}
    for file in files:
        if os.path.realpath(file) in sources:
            raise OutputError(f"{file} is one of the scans: it would be replaced. Choose another place with -o.")
    if not overwrite and (there := [file for file in files if file.exists()]):
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise OutputError(f"{there[0]}{more} exists already. Replace it with --overwrite, or choose another -o.")
    folder = job.output.parent if is_file else job.output
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".umlite-"):
            pass
    except OSError as error:
        raise output_error(error, job.output) from error


def _save(result: Segmentation, output: Path) -> tuple[Path, ...]:
    start = time.perf_counter()
    try:
        make_folder(output.parent)
        files = tuple(result.save(output))
    except OutputError as error:
        raise OutputError(f"{error} {_rescue(result, output)}") from error
    result.timings["write"] = time.perf_counter() - start
    return files


def _rescue(result: Segmentation, output: Path) -> str:
    """Finished work is not thrown away because the disk refuses it: keep it where temporary files go."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="umlite-rescued-"))
        kept = result.save(folder / output.name)
    except (OSError, UmliteError):
        return "The result could not be kept in the temporary folder either."
    return f"The finished result was kept in {kept[0].parent}."


def _distinct_names(scans: Sequence[Path]) -> list[str]:
    """A name per scan: its file's, with as many parent folders joined on as it takes to tell all apart.

    Letter case does not tell apart, since some file systems ignore it.
    """
    parts = [[*Path(os.path.abspath(scan)).parent.parts[1:], _stem(scan)] for scan in scans]
    depth = 1
    while True:
        names = ["_".join(p[-depth:]) for p in parts]
        if len({name.lower() for name in names}) == len(names):
            return names
        if depth >= max(len(p) for p in parts):
            return [f"{name}_{number}" for number, name in enumerate(names, start=1)]
        depth += 1


def _stem(scan: Path) -> str:
    for suffix in SUFFIXES:
        if scan.name.lower().endswith(suffix):
            return scan.name[: -len(suffix)]
    return scan.name
