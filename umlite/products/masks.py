"""Masks as NIfTI: one file per class, or one label map for all, and probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from umlite.classes import AnatomyClass
from umlite.outputs.file_set import Files
from umlite.products.place import Place
from umlite.products.product import Finished, NamedProduct


class Masks(NamedProduct):
    """One uint8 mask per class, CLASS.nii.gz."""

    def paths(self, place: Place, classes: Sequence[AnatomyClass]) -> list[Path]:
        return [place.main / f"{name}.nii.gz" for name in self.names_of(classes).values()]

    def write(self, files: Files, place: Place, finished: Finished) -> None:
        result = finished.result
        result.add_masks(files, place.main, self.names_of(result.classes))


class LabelMap(NamedProduct):
    """Published indices in one file, tumours over organs, with the names inside the file."""

    def paths(self, place: Place, classes: Sequence[AnatomyClass]) -> list[Path]:  # noqa: ARG002  one file for all
        return [place.main]

    def write(self, files: Files, place: Place, finished: Finished) -> None:
        result = finished.result
        result.add_label_map(files, place.main, self.names_of(result.classes))


class Probabilities(NamedProduct):
    """CLASS_probability.nii.gz per class, before post-processing."""

    def paths(self, place: Place, classes: Sequence[AnatomyClass]) -> list[Path]:
        folder = place.folder_beside("probabilities")
        return [folder / f"{name}_probability.nii.gz" for name in self.names_of(classes).values()]

    def write(self, files: Files, place: Place, finished: Finished) -> None:
        result = finished.result
        result.add_probabilities(files, place.folder_beside("probabilities"), self.names_of(result.classes))
