"""Hostile stored results: odd JSON in the header extension, odd headers, odd voxels, odd bytes. And hostile NRRD."""

from __future__ import annotations

import functools
import gzip
import json
import random
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Extension

from bench.fuzz.mutation import ODD_FLOATS, ODD_NUMBERS, ODD_TEXTS, odd_bytes, odd_tree
from bench.fuzz.weights import small_network
from umlite.batch.exporting import export
from umlite.class_table import ClassTable
from umlite.engines.options import EngineOptions
from umlite.masks.bitmask import BitMask
from umlite.masks.on_scan import ResampledMasks
from umlite.outputs.file_set import together
from umlite.products.place import Place
from umlite.products.product import Finished
from umlite.products.stored.product import StoredResult
from umlite.products.wanted import Wanted
from umlite.request import Request
from umlite.results.segmentation import Segmentation
from umlite.sweep.runner import WindowCounts
from umlite.volume.geometry import Grid
from umlite.volume.preparation import Frame
from umlite.volume.reading import read_scan
from umlite.weights.model_card import ModelCard

SHAPE = (9, 8, 7)
ODD_SIZES = (-1, 0, 1, 2, 9, 255, 30000)
FIELDS = (
    *(("type", v) for v in ("short", "uchar", "double", "block", "")),
    *(("dimension", v) for v in ("3", "4", "0", "-1", "1e9", "x")),
    *(("space", v) for v in ("RAS", "left-posterior-superior", "scanner-xyz", "")),
    *(("encoding", v) for v in ("raw", "gzip", "hex", "bzip2")),
    *(("endian", v) for v in ("little", "big", "")),
    *(("data file", v) for v in ("../x", "/etc/passwd", "LIST", "x.nrrd", "y", "~root/x")),
    *(("space units", v) for v in ('"mm"', '"m" "m" "m"', '"cm" "mm"')),
)


def stored(rng: random.Random, folder: Path) -> Callable[[], object]:
    """A stored result with an odd header, odd JSON, odd bits or odd bytes, exported to some format."""
    path = folder / "x.umlite.nii.gz"
    content = gzip.decompress(sound_result())
    kind = rng.randrange(4)
    if kind == 0:
        path.write_bytes(odd_bytes(rng, sound_result()))
    elif kind == 1:
        path.write_bytes(gzip.compress(odd_bytes(rng, content, most=rng.choice((400, 6000, len(content)))), 1))
    else:
        path.write_bytes(gzip.compress(_odd_result(rng, content), 1))
    output = rng.choice(("out", "x.nii.gz", "x.seg.nrrd", "y.umlite.nii.gz"))
    return lambda: _export(path, folder / output)


def nrrd(rng: random.Random, folder: Path) -> Callable[[], object]:
    """An NRRD with odd fields or odd bytes."""
    fields = {
        "type": "short",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": "9 8 7",
        "space directions": "(30,0,0) (0,30,0) (0,0,30)",
        "endian": "little",
        "encoding": rng.choice(("raw", "gzip")),
        "space origin": "(1,2,3)",
    }
    data = np.arange(9 * 8 * 7, dtype="<i2").tobytes()
    data = gzip.compress(data) if fields["encoding"] == "gzip" else data
    for _ in range(rng.choice((0, 1, 1, 3))):
        _spoil(rng, fields)
    head = "NRRD0004\n" + "".join(f"{name}: {value}\n" for name, value in fields.items()) + "\n"
    whole = head.encode("utf-8", "replace") + data
    (folder / "y").write_bytes(data)
    (folder / "x.nrrd").write_bytes(odd_bytes(rng, whole) if rng.random() < 0.4 else whole)
    return lambda: _read(folder / "x.nrrd")


@functools.cache
def sound_result() -> bytes:
    """A stored result of three classes."""
    rng = np.random.default_rng(0)
    affine = np.diag([30.0, 30.0, 30.0, 1.0])
    scan = read_scan(nib.Nifti1Image(rng.integers(-900, 900, SHAPE).astype(np.int16), affine))
    network = small_network("unet").config
    card = ModelCard("net", network, tuple(f"class_{i}" for i in range(network.head.classes)))
    classes = ClassTable(card.classes).resolve(["class_1", "class_0", "class_7"])
    bits = BitMask.from_masks({c.name: rng.random(SHAPE) > 0.7 for c in classes})
    grid = Grid(scan.shape, scan.affine)
    masks = ResampledMasks(bits, Frame((0, 1, 2), grid, grid, (0, 0, 0), scan.shape))
    result = Segmentation(scan, classes, masks, WindowCounts(1, 0, 1), {}, ("a",), (), card)
    run = {
        "kind": "umlite run",
        "schema": 1,
        "input": {"path": "/a/scan.nii.gz", "sha256": "0" * 64, "bytes": 1, "mtime_ns": 1},
        "weights": {"name": "net", "file": "/a/net.safetensors", "sha256": "0" * 64, "packs": []},
        "request": Request().to_dict(),
        "wanted": Wanted().to_dict(),
        "engine": {"options": EngineOptions().to_dict(), "reasons": []},
    }
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "x.umlite.nii.gz"
        with together(path.parent) as files:
            StoredResult().write(files, Place(path, False), Finished(result, run=run))
        return path.read_bytes()


def _odd_result(rng: random.Random, content: bytes) -> bytes:
    """The file written anew with one thing changed."""
    image = nib.Nifti1Image.from_bytes(content)
    about = json.loads(image.header.extensions[0].get_content())
    bits = np.asarray(image.dataobj).copy()
    header = image.header.copy()
    for _ in range(rng.choice((1, 1, 3))):
        about = _odd_about(rng, about)
    if rng.random() < 0.2:
        bits.flat[rng.randrange(bits.size)] = rng.choice(ODD_NUMBERS) % 2**32
    if rng.random() < 0.2:
        bits = bits.astype(rng.choice((np.uint8, np.int16, np.float32, np.uint64)))
        header.set_data_dtype(bits.dtype)
    header.extensions.clear()
    text = json.dumps(about) * rng.choice((1, 1, 1, 1, 2))
    header.extensions.append(Nifti1Extension(rng.choice((6, 6, 0, 44)), text.encode("ascii", "replace")))
    data = nib.Nifti1Image(bits, None, header).to_bytes()
    if rng.random() < 0.2:
        spoilt = nib.Nifti1Header(data[:348], check=False)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spoilt["dim"][rng.randrange(1, 5)] = rng.choice(ODD_SIZES)
            spoilt["srow_x"][rng.randrange(4)] = rng.choice((*ODD_FLOATS, 1.0))
        data = spoilt.binaryblock + data[348:]
    return data


def _odd_about(rng: random.Random, about: Any) -> Any:
    if rng.random() < 0.2 and isinstance(about, dict):
        names = rng.choice((["class_1"] * 3, [f"class_{i}" for i in range(70)], list(ODD_TEXTS), ["liver"], []))
        return {**about, "classes": [{"name": name} for name in names], "requested": names}
    return odd_tree(rng, about)


def _spoil(rng: random.Random, fields: dict[str, str]) -> None:
    kind = rng.randrange(5)
    if kind == 0:
        fields.pop(rng.choice(list(fields)))
    elif kind == 1:
        fields["sizes"] = " ".join(
            str(rng.choice((*ODD_SIZES, *ODD_NUMBERS, "x"))) for _ in range(rng.choice((3, 3, 4)))
        )
    elif kind == 2:
        numbers = [[rng.choice((0, 30, *ODD_FLOATS, *ODD_NUMBERS)) for _ in range(3)] for _ in range(3)]
        fields["space directions"] = " ".join(f"({','.join(map(str, row))})" for row in numbers) + rng.choice(
            ("", " none")
        )
    elif kind == 3:
        name, value = rng.choice(FIELDS)
        fields[name] = value
    else:
        name = rng.choice((*fields, "byte skip", "line skip", "spacings", "kinds", "Segment0_ID"))
        fields[name] = str(rng.choice((*ODD_NUMBERS, *ODD_FLOATS, *ODD_TEXTS)))


def _export(path: Path, output: Path) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        return export(path, output, Wanted())


def _read(path: Path) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        scan = read_scan(path, force_geometry=True)
    return sum(slab.size for slab in scan.slabs(1))


TARGETS = {"stored": stored, "nrrd": nrrd}
