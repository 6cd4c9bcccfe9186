"""The pictures of docs/demo.md: what `umlite demo` draws of a phantom and of three patients whose licence allows it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from recipes.demo_weights.patients import named
from umlite.demo import run_demo

PATIENTS = {
    "demo_abdomen.png": "cptac_pda_abdomen",
    "demo_chest.png": "totalseg_aorta",
    "demo_stack.png": "example_ct_dicom",
}
_STEP = 12
"""Greys of a picture are rounded to multiples of it, which makes the file a third as large."""


def draw(data: Path, docs: Path) -> None:
    """Write the pictures into `docs`. data: folder of the scans that patients.py lists."""
    scans: dict[str, Path | None] = {"demo.png": None}
    for picture, name in PATIENTS.items():
        patient = named(name)
        scans[picture] = data / patient.folder / patient.scan
    with tempfile.TemporaryDirectory() as folder:
        for picture, scan in scans.items():
            shown = run_demo(Path(folder) / picture, scan=scan)
            with_few_greys(Image.open(shown.picture)).save(docs / picture, optimize=True)


def with_few_greys(picture: Image.Image) -> Image.Image:
    """A picture with fewer greys and all of its colours."""
    pixels = np.asarray(picture.convert("RGB")).astype(np.int16)
    grey = np.ptp(pixels, axis=2) < _STEP
    pixels[grey] = (pixels[grey] + _STEP // 2) // _STEP * _STEP
    few = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return few.convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
