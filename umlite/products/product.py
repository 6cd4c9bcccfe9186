"""The contract of a product, and the finished result that it is made of."""

from __future__ import annotations

import functools
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umlite.classes import AnatomyClass
from umlite.errors import InputError
from umlite.findings import Finding, find
from umlite.names import OWN, names_of
from umlite.outputs.file_set import Files
from umlite.products.place import Place
from umlite.products.wanted import Wanted
from umlite.results.statistics import Statistics
from umlite.results.statistics import statistics as measure

if TYPE_CHECKING:
    from umlite.dicom.series import Series
    from umlite.results.segmentation import Segmentation


@dataclass(eq=False)
class Finished:
    """A result and what is derived from it, each part computed when it is first read, and once.

    Args:
        result: the masks, with all that is known of them.
        series: the DICOM that the scan was read from; None for a file of another format.
        run: facts of the run for its manifest (`umlite.products.manifest.run_facts`), without outputs.
        seconds: gets the time of each part, by name.
        wanted: what the run wants of it.
        remarks: gets sentences about the files that a user should know.
    """

    result: Segmentation
    series: Series | None = None
    run: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    wanted: Wanted = field(default_factory=lambda: Wanted(checks=False))
    remarks: list[str] = field(default_factory=list)

    @functools.cached_property
    def statistics(self) -> Statistics:
        """Numbers of all classes and lesions. Raises InputError where the scan cannot be read again."""
        start = time.perf_counter()
        try:
            found = measure(self.result)
        finally:
            self.seconds["statistics"] = time.perf_counter() - start
        self.remarks.extend(found.remarks)
        return found

    @functools.cached_property
    def findings(self) -> tuple[Finding, ...] | None:
        """What the result says against itself; None where not wanted. No error if the scan cannot be read again."""
        if not self.wanted.checks:
            return None
        try:
            return find(self.result, self.statistics)
        except InputError as error:
            return (Finding("not-judged", "note", f"Not judged: the scan could not be read again ({error})"),)

    @property
    def checks(self) -> dict[str, Any]:
        """The findings as a part of JSON, under `checks`; empty where they are not wanted."""
        return {} if self.findings is None else {"checks": [finding.to_dict() for finding in self.findings]}


class Product(ABC):
    """One kind of output. It keeps nothing of a scan, so one serves all scans of a run."""

    elsewhere = False
    """Whether its files go where the user said, whatever the place of the result."""
    needs_scan = False
    """Whether it reads the HU of the scan, which a result from a file has not."""
    needs_logits = False
    """Whether it reads blended logits, which a result from a file has not."""
    is_shared = False
    """Whether its files belong to several results, so that no manifest lists them."""
    exact = True
    """Whether the same run gives the same bytes: not where times or the manifest are inside."""
    can_be_copied = True
    """Whether `copy` gives what `write` would give for another scan with the same content."""

    @abstractmethod
    def paths(self, place: Place, classes: Sequence[AnatomyClass]) -> list[Path]:
        """Files that `write` will make, known before the computation so that clashes are found early."""

    @abstractmethod
    def write(self, files: Files, place: Place, finished: Finished) -> None:
        """Write these files into a set. Raises OutputError, or InputError where the scan cannot be read again."""

    def copy(
        self,
        files: Files,
        source: Place,
        place: Place,
        classes: Sequence[AnatomyClass],
        scan: str,  # noqa: ARG002  most files hold no name
    ) -> None:
        """Write these files for another scan with the same content, from those of the first.

        Args:
            files: the set that they join.
            source: the place of the first result.
            place: the place of the new one.
            classes: of both results.
            scan: name of the other scan.

        Raises:
            OSError: a file cannot be read or written.
            OutputError: as `write`.
        """
        for there, here in zip(self.paths(source, classes), self.paths(place, classes), strict=True):
            shutil.copyfile(there, files.new(here))

    def finish_run(self) -> None:  # noqa: B027  most products are of one scan each
        """Write what is about all scans of a run, after the last. Raises OutputError."""

    def check(self, place: Place, series: Series | None) -> None:  # noqa: B027  most products have nothing to check
        """Raise RequestError before the computation if this scan cannot have the product. series: as of `Finished`."""


class NamedProduct(Product):
    """A product whose files or labels have names of classes. names: a key of `umlite.names.NAMES`."""

    def __init__(self, names: str = OWN) -> None:
        self._names = names

    def names_of(self, classes: Sequence[AnatomyClass]) -> dict[str, str]:
        """Canonical name -> name to write."""
        return names_of(classes, self._names)
