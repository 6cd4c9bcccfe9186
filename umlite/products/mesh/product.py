"""Surfaces of classes as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from umlite.classes import AnatomyClass
from umlite.errors import RequestError
from umlite.files import output_error
from umlite.names import names_of
from umlite.outputs.file_set import Files
from umlite.products.mesh.class_mesh import class_mesh
from umlite.products.mesh.files import MESH_FORMATS, glb_bytes, stl_bytes
from umlite.products.place import Place
from umlite.products.product import Finished, Product


class Meshes(Product):
    """CLASS.stl or CLASS.glb per class, beside the masks or in NAME_meshes. An empty class gets an empty mesh.

    Args:
        kind: one of MESH_FORMATS.
        names: a key of `umlite.names.NAMES`.

    Raises:
        RequestError: another format.
    """

    needs_logits = True

    def __init__(self, kind: str, names: str) -> None:
        if kind not in MESH_FORMATS:
            raise RequestError(
                f"Unknown format of surfaces {kind!r}: expected {' or '.join(MESH_FORMATS)}.", about="mesh"
            )
        self._kind, self._names = kind, names

    def paths(self, place: Place, classes: Sequence[AnatomyClass]) -> list[Path]:
        folder = place.folder_beside("meshes")
        return [folder / f"{name}.{self._kind}" for name in names_of(classes, self._names).values()]

    def write(self, files: Files, place: Place, finished: Finished) -> None:
        result = finished.result
        names = names_of(result.classes, self._names)
        for c, path in zip(result.classes, self.paths(place, result.classes), strict=True):
            mesh, name = class_mesh(result, c.name), names[c.name]
            data = stl_bytes(mesh, name) if self._kind == "stl" else glb_bytes(mesh, name, c.color)
            try:
                files.new(path).write_bytes(data)
            except OSError as error:
                raise output_error(error, path) from error
