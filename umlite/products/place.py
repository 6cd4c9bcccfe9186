"""Where the files of one scan's result go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ENDINGS = (".umlite.nii.gz", ".seg.nrrd", ".nii.gz", ".nii", ".dcm")
"""Of results that are one file."""


@dataclass(frozen=True)
class Place:
    """The place of one scan's result.

    Args:
        main: a folder for one file per class, or the one file.
        is_folder: which of the two.
        name: of the scan, distinct from those of all other scans of the run; for files that were given a folder of
            their own.
        with_manifest: whether the run manifest is written there unasked: not beside one file that was asked for alone.
        inner: folder of `main` that gets the files of classes; empty for `main` itself.
        alone: whether a file has its folder to itself, so that further files need not repeat its name.
        dataset: folder of the BIDS dataset that the result belongs to.
    """

    main: Path
    is_folder: bool = True
    name: str = "scan"
    with_manifest: bool = True
    inner: str = ""
    alone: bool = False
    dataset: Path | None = None

    @property
    def class_folder(self) -> Path:
        """The folder of the files of classes, where the result is a folder."""
        return self.main / self.inner

    @property
    def home(self) -> Path:
        """The folder that holds all files of the result, directly or in folders."""
        return self.main if self.is_folder else self.main.parent

    def beside(self, name: str) -> Path:
        """A further file of the result: in the folder, or beside NAME.nii.gz as NAME_`name`."""
        if self.is_folder or self.alone:
            return self.home / name
        start = stem(self.main) if self.dataset is None else stem(self.main).removesuffix("_dseg")
        return self.main.with_name(f"{start}_{name}")

    def folder_beside(self, name: str) -> Path:
        """A folder for further files of classes: that of the masks, or NAME_`name` beside NAME.nii.gz."""
        return self.class_folder if self.is_folder else self.beside(name)


def stem(path: Path) -> str:
    """A file's name without the ending of its format."""
    ending = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), "")
    return path.name[: len(path.name) - len(ending)]
