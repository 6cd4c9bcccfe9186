"""The run manifest: everything that a result depends on, and the result's files with their hashes."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umlite.files import file_sha256, kept_sha256
from umlite.products.elsewhere import given_path
from umlite.products.place import Place
from umlite.weights.packs import read_pack_card

if TYPE_CHECKING:
    from umlite.dicom.series import Series
    from umlite.engines.setup import Setup
    from umlite.products.content import Content
    from umlite.products.wanted import Wanted
    from umlite.request import Request
    from umlite.weights.model_card import ModelCard

NAME = "manifest.json"
KIND = "umlite run"
SCHEMA = 1
"""Version of the manifest's fields. It grows when one changes its meaning or goes."""


def manifest_path(wanted: Wanted, place: Place) -> Path | None:
    """Where a scan's manifest goes; None where none is written."""
    if wanted.manifest is not None:
        return given_path(wanted.manifest, place, ".json")
    return place.beside(NAME) if place.with_manifest else None


def run_facts(
    card: ModelCard, weights: Path, packs: Sequence[Path], setup: Setup, request: Request, wanted: Wanted
) -> dict[str, Any]:
    """What a manifest says that is the same for all scans of a run. weights, packs: their files, which are hashed."""
    import numpy
    import torch

    from umlite import __version__

    return {
        "kind": KIND,
        "schema": SCHEMA,
        "umlite": __version__,
        "weights": {
            "name": card.name,
            "file": os.path.abspath(weights),
            "sha256": kept_sha256(weights),
            "packs": [pack_facts(pack) for pack in packs],
            "license": card.license,
            "notice": card.notice,
            "classes": list(card.classes),
        },
        "request": request.to_dict(),
        "wanted": wanted.to_dict(),
        "engine": {"options": setup.options.to_dict(), "reasons": list(setup.reasons)},
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": numpy.__version__,
            "system": platform.platform(),
        },
    }


def pack_facts(path: Path) -> dict[str, Any]:
    """What a manifest says of a pack: its name and hash find it again, and its folder is nobody's business."""
    classes = list(read_pack_card(path).classes)
    return {"file": path.name, "sha256": kept_sha256(path), "classes": classes}


def input_facts(path: Path, content: Content, series: Series | None = None) -> dict[str, Any]:
    """What a manifest says of a scan: where it was, and what it held. series: of DICOM, whose path is its own."""
    if series is None:
        return {"path": os.path.abspath(path), **content.to_dict()}
    about = {"series_uid": series.about.uid, "fill_gaps": series.fill_gaps}
    return {"path": os.path.abspath(series.path), **content.to_dict(), **about}


def outputs_of(staged: Iterable[tuple[Path, Path]], home: Path, *, exact: bool) -> list[dict[str, Any]]:
    """Name, size, time of change and hash of each file of a product.

    Args:
        staged: (name that the file gets, where it is now).
        home: names in this folder are told from there; others in full.
        exact: whether the same run would give the same bytes.
    """
    found = []
    for target, now in staged:
        inside = target.is_relative_to(home)
        name = target.relative_to(home).as_posix() if inside else os.path.abspath(target)
        status = os.stat(now)
        facts = {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": file_sha256(now), "exact": exact}
        found.append({"file": name, **facts})
    return found
