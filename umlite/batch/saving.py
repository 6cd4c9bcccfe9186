"""A scan's files: whether they can be written, all of them as one set, and a place for what the disk refuses."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from umlite.batch.jobs import Job
from umlite.classes import AnatomyClass
from umlite.errors import OutputError, UmliteError
from umlite.files import output_error
from umlite.outputs.file_set import rehearse, together
from umlite.outputs.leftovers import recover
from umlite.outputs.temporary import existing
from umlite.results.statistics import statistics as measure
from umlite.results.statistics_files import statistics_paths, write_statistics

if TYPE_CHECKING:
    from umlite.api import Segmentation
    from umlite.results.statistics import Statistics


@dataclass(frozen=True)
class Saved:
    """The files of a result, its statistics if requested, and the seconds that both took."""

    files: tuple[Path, ...]
    statistics: Statistics | None
    timings: dict[str, float]


class Saver:
    """Writes the results of a run.

    Args:
        classes: of every result.
        scans: real paths of files that must stay.
        overwrite: whether existing results may be replaced.
        probabilities, statistics: what is written beside masks or label maps.
    """

    def __init__(
        self,
        classes: Sequence[AnatomyClass],
        scans: Collection[str] = (),
        *,
        overwrite: bool = False,
        probabilities: bool = False,
        statistics: bool = False,
    ) -> None:
        self._classes, self._scans = tuple(classes), frozenset(scans)
        self._overwrite, self._probabilities, self._statistics = overwrite, probabilities, statistics
        self._clean: set[Path] = set()

    def check(self, job: Job) -> None:
        """Find out before the computation whether the result can be written, by doing what writing it will do.

        What killed runs left in the folder is finished or removed first.

        Raises:
            OutputError: a scan, or without `overwrite` any file, would be replaced, or the system refuses.
        """
        folder = existing(job.home)
        if folder not in self._clean:
            recover(folder)
            self._clean.add(folder)
        files = self._files(job)
        try:
            for file in files:
                if os.path.realpath(file) in self._scans:
                    raise OutputError(
                        f"{file} is one of the scans and would be replaced. Choose another place.", about="output"
                    )
                if file.is_dir():
                    raise OutputError(
                        f"Cannot write {file}: a folder of that name exists. Choose another name.", about="output"
                    )
            if not self._overwrite and (there := [file for file in files if os.path.lexists(file)]):
                more = f" and {len(there) - 1} more" if len(there) > 1 else ""
                raise OutputError(
                    f"{there[0]}{more} exists already. Choose another place, or allow replacing it.",
                    about=("overwrite", "output"),
                )
            rehearse(folder)
        except OSError as error:
            raise output_error(error, job.output) from error

    def save(self, result: Segmentation, job: Job) -> Saved:
        """Write all files of a result, or none.

        Raises:
            OutputError: the system refuses. The message says where the result is kept instead.
        """
        timings: dict[str, float] = {}
        found = None
        try:
            start = time.perf_counter()
            if self._statistics:
                found = measure(result)
                timings["statistics"] = time.perf_counter() - start
                start = time.perf_counter()
            files = write_result(result, found, job, overwrite=self._overwrite)
            timings["write"] = time.perf_counter() - start
        except (UmliteError, OSError) as error:
            raise OutputError(f"{error} {_rescue(result, found, job)}", about="output") from error
        finally:
            if result.probabilities is not None:
                result.probabilities.file.close()
        return Saved(tuple(files), found, timings)

    def _files(self, job: Job) -> list[Path]:
        names = [c.name for c in self._classes]
        files = [job.output] if job.label_map else [job.output / f"{name}.nii.gz" for name in names]
        if self._probabilities:
            files += [job.probability_folder / f"{name}_probability.nii.gz" for name in names]
        if self._statistics:
            files += statistics_paths(job.output, label_map=job.label_map)
        return files


def write_result(result: Segmentation, statistics: Statistics | None, job: Job, *, overwrite: bool) -> list[Path]:
    """Write masks or a label map, with probabilities and statistics where there are any, as one set."""
    with together(job.home, overwrite=overwrite, clean=True) as files:
        add = result.add_label_map if job.label_map else result.add_masks
        add(files, job.output)
        if result.probabilities is not None:
            result.add_probabilities(files, job.probability_folder)
        if statistics is not None:
            about = {"scan": result.scan.name, "weights": result.card.name, "notice": result.card.notice}
            write_statistics(files, statistics_paths(job.output, label_map=job.label_map), statistics, about)
        return files.files


def _rescue(result: Segmentation, statistics: Statistics | None, job: Job) -> str:
    """Keep a finished result in the temporary folder or the current one if it cannot be written."""
    for parent in (None, "."):
        try:
            folder = Path(tempfile.mkdtemp(prefix="umlite-rescued-", dir=parent))
            output = folder / ("labels.nii.gz" if job.label_map else "masks")
            kept = write_result(result, statistics, Job(job.scan, output, job.label_map), overwrite=True)
        except (OSError, UmliteError):
            continue
        return f"The finished result was kept in {kept[0].parent}."
    return "The result could not be kept in the temporary folder either."
