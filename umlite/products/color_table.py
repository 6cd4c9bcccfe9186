"""A colour table beside a label map, in 3D Slicer's format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from umlite.classes import AnatomyClass
from umlite.outputs.file_set import Files
from umlite.products.place import Place, stem
from umlite.products.product import Finished, NamedProduct


class ColorTable(NamedProduct):
    """NAME.ctbl beside NAME.nii.gz: a line per label with name, red, green, blue and opacity."""

    def paths(self, place: Place, classes: Sequence[AnatomyClass]) -> list[Path]:  # noqa: ARG002  one file for all
        return [place.main.with_name(f"{stem(place.main)}.ctbl")]

    def write(self, files: Files, place: Place, finished: Finished) -> None:
        classes = finished.result.classes
        (path,) = self.paths(place, classes)
        files.write_text(path, color_table(classes, self.names_of(classes)))


def color_table(classes: Sequence[AnatomyClass], names: Mapping[str, str]) -> str:
    """A colour table as text. names: canonical name -> name to write."""
    rows = [f"{c.index} {names[c.name]} {' '.join(map(str, c.color))} 255" for c in sorted(classes, key=_index)]
    return "\n".join(["# Color table file, labels of umlite", "0 background 0 0 0 0", *rows]) + "\n"


def _index(c: AnatomyClass) -> int:
    return c.index
