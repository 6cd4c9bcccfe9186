"""Where the files of one scan's result go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ENDINGS = (".umlite.nii.gz", ".seg.nrrd", ".nii.gz", ".nii", ".dcm")
"""Endings of results that are one file."""


@dataclass(frozen=True)
class Place:
    """The place of one scan's result.

    Args:
        main: a folder for one file per class, or the one file.
        is_folder: which of the two.
        name: of the scan, distinct from those of all other scans of the run; for files that were given a folder of
            their own.
        with_manifest: whether the run manifest is written there unasked: not beside one file that was asked for alone.
        dataset: folder of the BIDS dataset that the result belongs to.
    """

    main: Path
    is_folder: bool = True
    name: str = "scan"
    with_manifest: bool = True
    dataset: Path | None = None

    @property
    def home(self) -> Path:
        """The folder that holds all files of the result, directly or in folders."""
        return self.main if self.is_folder else self.main.parent

    def beside(self, name: str) -> Path:
        """A further file of the result: in the folder, or beside NAME.nii.gz as NAME_`name`."""
        return self.main / name if self.is_folder else self.main.with_name(f"{stem(self.main)}_{name}")

    def folder_beside(self, name: str) -> Path:
        """A folder for further files: the folder of the result, or NAME_`name` beside NAME.nii.gz."""
        return self.main if self.is_folder else self.beside(name)


def stem(path: Path) -> str:
    """A file's name without the ending of its format."""
    ending = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), "")
    return path.name[: len(path.name) - len(ending)]
