"""The picture of docs/extend.md: a phantom that no training saw, segmented before and after a class was added.

python -m recipes.extension_picture WEIGHTS PACK
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from umlite import Segmenter
from umlite.phantom import make_phantom
from umlite.products.pictures.drawing import draw_label, draw_slice, read_slices, window_of
from umlite.products.pictures.planes import planes_of
from umlite.weights.packs import read_pack

PICTURE = Path(__file__).parents[1] / "docs" / "extend.webp"
SEED = 2_000_200
PIXELS_PER_MM = 1.3


def main(weights: str, pack: str) -> None:
    phantom = make_phantom(SEED, (2.0, 2.0, 4.0))
    name = read_pack(Path(pack)).card.classes[0]
    inside = phantom.masks[name]
    results = [Segmenter(weights, packs=packs, device="cpu").segment(phantom.image()) for packs in ([], [pack])]
    plane = planes_of(results[0].affine)[0]
    sizes = inside.sum(tuple(axis for axis in range(3) if axis != plane.across))
    cut = (plane.across, int(np.argmax(sizes)))
    panels = []
    for result, label in zip(results, ("before", f"with {name}"), strict=True):
        shown = read_slices(result, [cut])[cut]
        panels.append(draw_slice(shown, plane, result.classes, PIXELS_PER_MM, window_of(result.scan)))
        draw_label(panels[-1], label)
    whole = Image.new("RGB", (sum(panel.width for panel in panels), panels[0].height))
    for n, panel in enumerate(panels):
        whole.paste(panel, (n * panel.width, 0))
    whole.save(PICTURE, quality=70, method=6)
    found = results[1].mask(name)
    dice = 2 * float((found & inside).sum()) / float(found.sum() + inside.sum())
    print(f"{PICTURE} {PICTURE.stat().st_size / 1e3:.0f} kB, {name}: Dice {dice:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
