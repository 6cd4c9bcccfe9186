"""Several scans in one run: where each result goes, and how a bad scan leaves the others alone."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from umlite.classes import AnatomyClass
from umlite.cost.actual import Cost
from umlite.errors import OutputError, RequestError, UmliteError
from umlite.files import output_error
from umlite.machine.memory import peak_bytes, start_peak
from umlite.progress import Progress, no_progress
from umlite.results.statistics import statistics as measure
from umlite.results.statistics_files import statistics_paths, write_statistics
from umlite.results.writing import is_label_map
from umlite.volume.reading import scan_name

if TYPE_CHECKING:
    from umlite.api import Segmentation, Segmenter
    from umlite.cost.forecast import Forecast
    from umlite.request import Request
    from umlite.results.statistics import Statistics


@dataclass(frozen=True)
class Job:
    """A scan and the place of its result: a label map (one file), or a folder of masks."""

    scan: Path
    output: Path
    label_map: bool = False

    @property
    def probability_folder(self) -> Path:
        """Folder for probabilities: that of the masks, or NAME_probabilities beside the label map NAME.nii.gz."""
        return self.output.with_name(f"{scan_name(self.output)}_probabilities") if self.label_map else self.output


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job: a result with its files and its cost, or an error."""

    job: Job
    result: Segmentation | None = None
    files: tuple[Path, ...] = ()
    error: Exception | None = None
    cost: Cost | None = None
    statistics: Statistics | None = None


def lay_out_jobs(scans: Sequence[Path], output: Path | None, *, label_map: bool = False) -> list[Job]:
    """One job per scan, no two with the same output. A scan given twice is done once.

    Args:
        scans: files of scans.
        output: for one scan its folder of masks, or its label map if it ends in .nii or .nii.gz; for several scans a
            folder with one entry per scan, named after it. None: NAME_segmentation (or NAME_segmentation.nii.gz) in the
            current folder.
        label_map: one label map per scan instead of a folder of masks.

    Raises:
        RequestError: several scans with one file as output.
    """
    distinct = list({os.path.realpath(scan): scan for scan in reversed(scans)}.values())[::-1]
    names = _distinct_names(distinct)
    one_file = output is not None and is_label_map(output)
    if one_file and len(distinct) > 1:
        raise RequestError(
            f"{len(distinct)} scans cannot share the one file {output}. Choose a folder; it can hold one label map per "
            "scan.",
            about=("output", "label_map"),
        )
    ending = ".nii.gz" if label_map else ""
    if output is None:
        return [
            Job(scan, Path(f"{n}_segmentation{ending}"), label_map) for scan, n in zip(distinct, names, strict=True)
        ]
    if one_file or (len(distinct) == 1 and not label_map):
        return [Job(distinct[0], output, one_file)]
    return [Job(scan, output / f"{name}{ending}", label_map) for scan, name in zip(distinct, names, strict=True)]


def run_jobs(
    segmenter: Segmenter,
    jobs: Sequence[Job],
    request: Request,
    *,
    overwrite: bool = False,
    statistics: bool = False,
    progress_of: Callable[[str], Progress] = lambda _name: no_progress,
    forecast: Forecast | None = None,
) -> Iterator[Outcome]:
    """Segment one scan after the other, and save each before the next is read. Errors of a scan become outcomes.

    No outcome is kept here: a caller that drops one before it asks for the next needs memory for only one scan.

    Args:
        segmenter: runs on every scan.
        jobs: scans and places of their results.
        request: what is asked of every scan.
        overwrite: whether existing results may be replaced.
        statistics: whether to measure every result and to write its numbers beside its masks.
        progress_of: makes a scan's `Progress` from its name.
        forecast: predicts the cost of each scan and refuses scans that are too large.

    Yields:
        One outcome per job, in order.

    Raises:
        RequestError: the request cannot be served for any scan; raised before the first.
    """
    wanted = segmenter.check_request(request)
    scans = {os.path.realpath(job.scan) for job in jobs}

    def run(job: Job) -> Outcome:
        numbers = statistics_paths(job.output, label_map=job.label_map) if statistics else ()
        check_output(job, wanted, scans, overwrite=overwrite, probabilities=request.probabilities, numbers=numbers)
        start_peak()
        prepared = segmenter.prepare(job.scan)
        predicted = None if forecast is None else forecast.of(prepared)
        folder = _existing(job.probability_folder) if request.probabilities else None
        decided = segmenter.decide(prepared, request, progress=progress_of(job.scan.name), folder=folder)
        del prepared  # the volume need not be in memory while masks are cleaned and written
        result = segmenter.finish(decided)
        del decided
        saved = _save(result, job, overwrite=overwrite, statistics=statistics)
        cost = Cost(result.timings | saved.timings, peak_bytes(), predicted)
        return Outcome(job, result, saved.files, cost=cost, statistics=saved.statistics)

    for job in jobs:
        try:
            yield run(job)
        except UmliteError as error:
            yield Outcome(job, error=error)
        except Exception as error:  # a defect of umlite must not cost the other scans: the caller reports it in full
            yield Outcome(job, error=error)


def check_output(
    job: Job,
    classes: Sequence[AnatomyClass],
    scans: set[str],
    *,
    overwrite: bool,
    probabilities: bool = False,
    numbers: Sequence[Path] = (),
) -> None:
    """Check before the computation that the result can be written.

    Args:
        job: gives the place of the result.
        classes: requested classes.
        scans: real paths of all scans, which are never replaced.
        overwrite: whether existing results may be replaced.
        probabilities: whether probabilities are written too.
        numbers: files of statistics that are written too.

    Raises:
        OutputError: a file would be replaced that must stay, or the folder cannot be written.
    """
    files = [job.output] if job.label_map else [job.output / f"{c.name}.nii.gz" for c in classes]
    if probabilities:
        files += [job.probability_folder / f"{c.name}_probability.nii.gz" for c in classes]
    files += numbers
    try:
        for file in files:
            if os.path.realpath(file) in scans:
                raise OutputError(
                    f"{file} is one of the scans and would be replaced. Choose another place.", about="output"
                )
            if file.is_dir():
                raise OutputError(
                    f"Cannot write {file}: a folder of that name exists. Choose another name.", about="output"
                )
        if not overwrite and (there := [file for file in files if os.path.lexists(file)]):
            more = f" and {len(there) - 1} more" if len(there) > 1 else ""
            raise OutputError(
                f"{there[0]}{more} exists already. Choose another place, or allow replacing it.",
                about=("overwrite", "output"),
            )
        folder = _existing(job.output.parent if job.label_map else job.output)
        with tempfile.TemporaryFile(dir=folder, prefix=".umlite-"):
            pass
    except OSError as error:
        raise output_error(error, job.output) from error


def _existing(folder: Path) -> Path:
    """The folder, or its closest parent that exists."""
    while not folder.exists():
        folder = folder.parent
    return folder


@dataclass(frozen=True)
class _Saved:
    """Files of a result, its statistics where they were asked for, and the seconds that both took."""

    files: tuple[Path, ...]
    statistics: Statistics | None
    timings: dict[str, float]


def _save(result: Segmentation, job: Job, *, overwrite: bool, statistics: bool) -> _Saved:
    timings: dict[str, float] = {}
    found = None
    start = time.perf_counter()
    save = result.save_label_map if job.label_map else result.save_masks
    try:
        if statistics:
            found = measure(result)
            timings["statistics"] = time.perf_counter() - start
            start = time.perf_counter()
        files = save(job.output, overwrite=overwrite)
        if result.probabilities is not None:
            files += result.save_probabilities(job.probability_folder, overwrite=overwrite)
            result.probabilities.file.close()
        if found is not None:
            paths = statistics_paths(job.output, label_map=job.label_map)
            about = {"scan": result.scan.name, "weights": result.card.name, "notice": result.card.notice}
            files += write_statistics(paths, found, about, overwrite=overwrite)
    except (UmliteError, OSError) as error:
        raise OutputError(f"{error} {_rescue(result, job)}", about="output") from error
    timings["write"] = time.perf_counter() - start
    return _Saved(tuple(files), found, timings)


def _rescue(result: Segmentation, job: Job) -> str:
    """Keep a finished result in the temporary folder if it cannot be written; returns a sentence about it."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="umlite-rescued-"))
        kept = result.save_label_map(folder / "labels.nii.gz") if job.label_map else result.save_masks(folder / "masks")
    except (OSError, UmliteError):
        return "The result could not be kept in the temporary folder either."
    return f"The finished result was kept in {kept[0].parent}."


def _distinct_names(scans: Sequence[Path]) -> list[str]:
    """One name per scan: that of its file, preceded by as many parent folders as make all names distinct.

    Names that differ only in letter case are not distinct, since some file systems ignore it.
    """
    parts = [[*Path(os.path.abspath(scan)).parent.parts[1:], _file_name(scan)] for scan in scans]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["_".join(p[-depth:]) for p in parts]
        if len({name.lower() for name in names}) == len(names):
            return names
    return [f"{name}_{number}" for number, name in enumerate(names, start=1)]


def _file_name(scan: Path) -> str:
    """The scan's name, or "scan" if it cannot name a file (such as `...nii.gz`)."""
    name = scan_name(scan)
    return name if name.strip(". ") else "scan"
