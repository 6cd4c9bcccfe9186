"""Weights from a checkpoint file or from the hub into the store."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from umlite.errors import RequestError, WeightsError
from umlite.weights.conversion import UNKNOWN_ORIGIN, Conversion, Origin, convert_checkpoint
from umlite.weights.download import SOURCES, Progress, Source, download
from umlite.weights.store import SUFFIX, install_path, store_folder


def convert(
    checkpoint: Path,
    output: Path | None = None,
    *,
    name: str | None = None,
    class_names: Sequence[str] | None = None,
    origin: Origin = UNKNOWN_ORIGIN,
    overwrite: bool = False,
) -> Conversion:
    """Convert a checkpoint into `output`, or install it under `name` (its file's name by default).

    Raises WeightsError when the checkpoint does not fit or the file exists and `overwrite` is not given.
    """
    name = name or (output or checkpoint).name.removesuffix(SUFFIX).removesuffix(checkpoint.suffix)
    path = output or install_path(name)
    if path.suffix != SUFFIX:
        raise WeightsError(f"Expected an output that ends in {SUFFIX}, found {path}.", about="output")
    _check_free(path, overwrite)
    return convert_checkpoint(checkpoint, path, name=name, class_names=class_names, origin=origin)


def check_pull(name: str, *, overwrite: bool) -> None:
    """Raise RequestError or WeightsError when `pull` could not install `name`."""
    _source(name)
    _check_free(install_path(name), overwrite)


def license_notice(name: str) -> str:
    """What a user accepts by downloading the published weights `name`."""
    source = _source(name)
    return (
        f"The weights {source.file} of {source.repo} and the code they come from are licensed {source.license}: "
        "attribution, no commercial use, no sharing of changed versions. They are not part of umlite."
    )


def pull(
    name: str,
    *,
    overwrite: bool = False,
    endpoint: str | None = None,
    progress: Progress | None = None,
) -> tuple[Conversion, bool]:
    """Download published weights, check them, convert and install them; the download is removed afterwards.

    An interrupted download continues where it stopped. Returns what was installed, and whether the hub published a
    checksum that it was checked against. Raises WeightsError.
    """
    check_pull(name, overwrite=overwrite)
    source, path = _source(name), install_path(name)
    folder = store_folder() / "downloads" / name
    found = download(source, folder, endpoint=endpoint, progress=progress)
    origin = Origin(source.license, source.training, found.url)
    conversion = convert_checkpoint(found.path, path, name=name, origin=origin)
    shutil.rmtree(folder)
    with contextlib.suppress(OSError):  # another download may be under way beside it
        folder.parent.rmdir()
    return conversion, found.verified


def _source(name: str) -> Source:
    if name not in SOURCES:
        raise RequestError(f"No published weights called {name!r}: expected {' or '.join(SOURCES)}.")
    return SOURCES[name]


def _check_free(path: Path, overwrite: bool) -> None:
    if os.path.exists(path) and not overwrite:
        raise WeightsError(f"{path} exists already. Allow replacing it, or choose another name.", about="overwrite")
