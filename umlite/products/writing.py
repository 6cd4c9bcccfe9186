"""All products of a scan, written as one set, the manifest last."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umlite.classes import AnatomyClass
from umlite.files import output_error
from umlite.outputs.file_set import FileSet, together
from umlite.outputs.texts import json_text
from umlite.products.manifest import outputs_of
from umlite.products.place import Place
from umlite.products.product import Finished, Product

_Part = tuple[Product, list[tuple[Path, Path]]]
"""A product with its files: the name that each gets, and where it is now."""


@dataclass(frozen=True)
class Written:
    """The files of a result under their names, its manifest and that one's file, and the seconds that it took."""

    files: tuple[Path, ...]
    manifest_file: Path | None
    manifest: dict[str, Any]
    seconds: dict[str, float]


def write_products(
    products: Sequence[Product], finished: Finished, place: Place, *, manifest_path: Path | None, overwrite: bool
) -> Written:
    """Write all products of a scan, or none. Files of other folders take their places before those of `place`.

    Args:
        products: what is written.
        finished: the result.
        place: where it goes; `umlite.outputs.leftovers.recover` has seen to its folder.
        manifest_path: the manifest's file; None where none is written.
        overwrite: whether files that are there may be replaced. A manifest always may.

    Raises:
        OutputError: the system refuses, or a file is there.
        InputError: the scan has to be read again and cannot be.
    """
    start = time.perf_counter()
    with ExitStack() as stack:
        sets = _Sets(stack, place.home, overwrite)
        outputs = _write_each(products, sets, lambda product: product.write(sets, place, finished))
        checks = finished.checks
        parts = dict(finished.seconds)
        parts["write"] = time.perf_counter() - start - sum(parts.values())
        manifest = {**finished.run, **_result_facts(finished, parts), **checks}
        _add_manifest(sets, place, manifest, outputs, manifest_path)
    parts["write"] += time.perf_counter() - start - sum(parts.values())
    return Written(_names(outputs), manifest_path, manifest, parts)


@dataclass(frozen=True)
class Original:
    """A finished result that another scan with the same content gets too.

    Args:
        place: where it is.
        classes: of it.
    """

    place: Place
    classes: Sequence[AnatomyClass]


def copy_products(
    products: Sequence[Product],
    original: Original,
    place: Place,
    *,
    scan: str,
    facts: dict[str, Any],
    manifest_path: Path,
    overwrite: bool,
) -> Written:
    """Write all products of a scan as copies of another's, or none.

    Args:
        products: what is written.
        original: what is copied.
        place: where it goes; `umlite.outputs.leftovers.recover` has seen to its folder.
        scan: name of the scan.
        facts: the manifest without its outputs.
        manifest_path: the manifest's file.
        overwrite: whether files that are there may be replaced. A manifest always may.

    Raises:
        OutputError: the system refuses, or a file is there.
    """
    start = time.perf_counter()
    with ExitStack() as stack:
        sets = _Sets(stack, place.home, overwrite)
        try:
            outputs = _write_each(
                products, sets, lambda product: product.copy(sets, original.place, place, original.classes, scan)
            )
        except OSError as error:
            raise output_error(error, place.main) from error
        parts = {"copy": time.perf_counter() - start}
        manifest = {**facts, "timings_s": {"copy": round(parts["copy"], 3)}}
        _add_manifest(sets, place, manifest, outputs, manifest_path)
    return Written(_names(outputs), manifest_path, manifest, parts)


def _write_each(products: Sequence[Product], sets: _Sets, write: Callable[[Product], None]) -> list[_Part]:
    """Write the files of products, one after the other, and tell which are whose."""
    parts = []
    for product in products:
        before = len(sets.staged)
        write(product)
        parts.append((product, sets.staged[before:]))
    return parts


def _add_manifest(
    sets: _Sets, place: Place, manifest: dict[str, Any], parts: Sequence[_Part], path: Path | None
) -> None:
    """Note the files in the manifest and add it to the set, last. path: None where none is written."""
    try:
        manifest["outputs"] = [
            entry
            for product, staged in parts
            if not product.is_shared
            for entry in outputs_of(staged, place.home, exact=product.exact)
        ]
    except OSError as error:
        raise output_error(error, place.main) from error
    if path is not None:
        sets.write_text(path, json_text(manifest), replace=True)


def _names(parts: Sequence[_Part]) -> tuple[Path, ...]:
    return tuple(path for _, staged in parts for path, _ in staged)


def _result_facts(finished: Finished, seconds: dict[str, float]) -> dict[str, Any]:
    result = finished.result
    timings = {step: round(s, 3) for step, s in {**result.timings, **seconds}.items()}
    return {
        "classes": [c.name for c in result.classes],
        "timings_s": timings,
        "warnings": [*result.warnings, *finished.remarks],
        "notes": list(result.notes),
    }


class _Sets:
    """One set of files per folder, each opened when a file goes there first. That of `home` ends last.

    Args:
        stack: closes them.
        home: the folder that the result is in.
        overwrite: whether files that are there may be replaced.

    Attributes:
        staged: every file asked for so far: the name that it gets, and where it is now.
    """

    def __init__(self, stack: ExitStack, home: Path, overwrite: bool) -> None:
        self._stack, self._home, self._overwrite = stack, home, overwrite
        self.staged: list[tuple[Path, Path]] = []
        self._sets = {home: stack.enter_context(together(home, overwrite=overwrite, clean=True))}

    def new(self, path: Path, *, replace: bool = False) -> Path:
        """Where to write the file that becomes `path`. Raises OutputError."""
        staged = self._set(path).new(path, replace=replace)
        self.staged.append((path, staged))
        return staged

    def write_text(self, path: Path, text: str, *, replace: bool = False) -> None:
        """Write a whole file of text, UTF-8. Raises OutputError."""
        self._set(path).write_text(path, text, replace=replace)
        self.staged.append(self._set(path).staged[-1])

    def _set(self, path: Path) -> FileSet:
        folder = self._home if path.is_relative_to(self._home) else path.parent
        if folder not in self._sets:
            self._sets[folder] = self._stack.enter_context(together(folder, overwrite=self._overwrite))
        return self._sets[folder]
