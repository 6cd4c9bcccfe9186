"""Files that go where the user says: one file for one scan, or a folder with one file per scan."""

from __future__ import annotations

from pathlib import Path

from umlite.errors import RequestError
from umlite.files import output_path
from umlite.products.place import Place


def given_path(where: str, place: Place, ending: str) -> Path:
    """The file of a scan: `where` if it has the ending, else NAME and the ending in the folder `where`."""
    path = output_path(where)
    return path if path.name.lower().endswith(ending) else path / f"{place.name}{ending}"


def check_given(where: str | None, ending: str, option: str, scans: int) -> None:
    """Raise RequestError for an empty name, or one file for several scans. option: whose value it is."""
    if where is None:
        return
    if not where:
        raise RequestError(
            f"The {option} has no name: expected a file that ends in {ending}, or a folder.", about=option
        )
    if scans > 1 and where.lower().endswith(ending):
        raise RequestError(
            f"{scans} scans cannot share the one file {where}. Name a folder; it gets a file per scan.", about=option
        )
