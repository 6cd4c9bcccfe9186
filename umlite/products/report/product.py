"""Reports as a product: one HTML file for one scan, or a folder with one for each scan and an index."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umlite.classes import AnatomyClass
from umlite.errors import RequestError
from umlite.files import output_error, output_path
from umlite.outputs.file_set import Files
from umlite.products.elsewhere import given_path
from umlite.products.place import Place
from umlite.products.product import Finished, Product
from umlite.products.report.content import Finding, ReportContent
from umlite.products.report.index import INDEX, is_foreign_index, write_index
from umlite.products.report.text import sentences
from umlite.products.report.writing import write_report

ENDING = ".html"
_PLACES = ("preview", "report", "manifest")
"""What is wanted, where the value is a place of this machine."""


@dataclass(frozen=True)
class Remark:
    """A warning or a note of the run. level: which of the two."""

    level: str
    sentence: str

    @property
    def code(self) -> str:
        return self.level


class Report(Product):
    """An HTML file where the user says.

    Args:
        where: an .html file, or a folder for those of several scans and their index.
    """

    elsewhere = True
    needs_scan = True
    exact = False  # facts of the run are inside
    can_be_copied = False  # its title is the scan's name

    def __init__(self, where: str) -> None:
        self._where = where
        self._folder = None if where.lower().endswith(ENDING) else output_path(where)

    def paths(self, place: Place, classes: Sequence[AnatomyClass]) -> list[Path]:  # noqa: ARG002  one file for all
        path = given_path(self._where, place, ENDING)
        taken = self._folder is not None and path.name.lower() == INDEX
        return [path.with_name(f"scan_{path.name}") if taken else path]

    def check(self, place: Place, series: object) -> None:  # noqa: ARG002
        try:
            if self._folder is not None and is_foreign_index(self._folder):
                raise RequestError(
                    f"{self._folder / INDEX} is not an index of reports and would be replaced. Choose another folder.",
                    about="report",
                )
        except OSError as error:
            raise output_error(error, self._folder or place.main) from error

    def write(self, files: Files, place: Place, finished: Finished) -> None:
        (path,) = self.paths(place, finished.result.classes)
        content = ReportContent(
            finished.result, finished.statistics, checks_of(finished), shareable(finished.run), title=place.name
        )
        write_report(files, path, content)

    def finish_run(self) -> None:
        if self._folder is not None and self._folder.is_dir() and not is_foreign_index(self._folder):
            write_index(self._folder)


def checks_of(finished: Finished) -> list[Finding]:
    """What the result says against itself, then further warnings and notes of the run."""
    findings = finished.findings or ()
    told = {finding.sentence for finding in findings} | {finished.result.card.notice}  # the page begins with it
    remarks = [("warning", text) for text in finished.result.warnings if text not in told]
    remarks += [("note", text) for text in finished.result.notes]
    if finished.findings is None:
        remarks.append(("note", sentences("checks")["off"]))
    path = finished.result.scan.path
    where, name = (str(path), path.name) if path else ("", "")
    return [*findings, *(Remark(level, text.replace(where, name) if where else text) for level, text in remarks)]


def shareable(run: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of a run without folders of this machine and identifiers of the patient's series."""
    facts = {name: value for name, value in run.items() if name not in ("input", "wanted")}
    if "input" in run:
        facts["input"] = {name: value for name, value in run["input"].items() if name not in ("path", "series_uid")}
    if "wanted" in run:
        facts["wanted"] = {name: value for name, value in run["wanted"].items() if name not in _PLACES}
    return {name: _without_folders(value) for name, value in facts.items()}


def _without_folders(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_folders(inside) for name, inside in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_folders(inside) for inside in value]
    if isinstance(value, str):
        return os.path.basename(value) if os.path.isabs(value) else value.replace(os.path.expanduser("~"), "~")
    return value
