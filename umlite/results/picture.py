"""A picture of a segmentation: axial, coronal and sagittal slices with coloured outlines and a legend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from umlite.classes import AnatomyClass
from umlite.files import make_folder, replacing
from umlite.inference.bitmask import BitMask

WINDOW_HU = (-160.0, 240.0)  # soft tissue, as radiologists view an abdomen
PANEL_PIXELS = 480  # of the longest side of a panel
GAP = 12
PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}  # RAS axis across each plane


def save_picture(
    path: Path, hu: np.ndarray, affine: np.ndarray, bits: BitMask, classes: Sequence[AnatomyClass], caption: str = ""
) -> Path:
    """Write a PNG: the slices through the middle of the masks, outlines over the scan, names of what is in view.

    hu: [X, Y, Z] HU; bits on the same grid. Shown as radiologists do: the patient's right on the left.
    Raises OutputError.
    """
    orientation = nib.io_orientation(affine)
    hu = nib.apply_orientation(hu, orientation)
    masks = BitMask(nib.apply_orientation(bits.bits, orientation), bits.names)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)[orientation[:, 0].argsort()]
    place = _middle(masks.bits)
    seen: dict[str, AnatomyClass] = {}
    panels = []
    for name, axis in PLANES.items():
        panel = _panel(hu, masks, classes, axis, place[axis], spacing, seen)
        ImageDraw.Draw(panel).text((6, 4), name, fill=(255, 255, 255), font=ImageFont.load_default(15))
        panels.append(panel)
    make_folder(path.parent)
    with replacing(path) as temporary:
        _compose(panels, list(seen.values()), caption).save(temporary, format="PNG")
    return path


def _middle(bits: np.ndarray) -> list[int]:
    """The voxel at the centre of everything segmented, or of the scan."""
    found = bits != 0
    if not found.any():
        return [n // 2 for n in bits.shape]
    profiles = [found.sum(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
    return [int(np.average(np.arange(len(p)), weights=p)) for p in profiles]


def _panel(
    hu: np.ndarray,
    masks: BitMask,
    classes: Sequence[AnatomyClass],
    axis: int,
    index: int,
    spacing: np.ndarray,
    seen: dict[str, AnatomyClass],
) -> Image.Image:
    """One slice with its outlines, at equal scale in both directions; `seen` gathers the classes it shows."""
    across, up = (a for a in range(3) if a != axis)
    low, high = WINDOW_HU
    grey = np.clip((_upright(hu.take(index, axis)) - low) / (high - low), 0, 1) * 255
    size_mm = np.array([hu.shape[across] * spacing[across], hu.shape[up] * spacing[up]])
    width, height = np.maximum((size_mm * PANEL_PIXELS / size_mm.max()).astype(int), 1)
    panel = Image.fromarray(grey.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC).convert("RGB")
    pixels = np.array(panel)
    bits = BitMask(masks.bits.take([index], axis), masks.names)
    for c in sorted(classes, key=lambda c: c.kind == "tumor"):
        mask = _upright(np.squeeze(bits.mask(c.name), axis))
        if not mask.any():
            continue
        seen.setdefault(c.name, c)
        large = np.array(Image.fromarray(mask.astype(np.uint8) * 255).resize((width, height), Image.Resampling.BICUBIC))
        pixels[_outline(large >= 128)] = c.color
    return Image.fromarray(pixels)


def _upright(plane: np.ndarray) -> np.ndarray:
    """[across, up] in RAS -> rows from the top, the patient's right (or front) on the left."""
    return np.flip(plane, (0, 1)).T


def _outline(mask: np.ndarray) -> np.ndarray:
    """Pixels of the mask within two steps of its edge."""
    inner = mask.copy()
    for _ in range(2):
        padded = np.pad(inner, 1)
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _compose(panels: list[Image.Image], classes: list[AnatomyClass], caption: str) -> Image.Image:
    """Panels side by side, the legend and the caption under them."""
    font = ImageFont.load_default(14)
    width = sum(p.width for p in panels) + GAP * (len(panels) + 1)
    column, line = 230, 20
    columns = max(1, (width - 2 * GAP) // column)
    rows = -(-len(classes) // columns)
    top = max(p.height for p in panels) + 2 * GAP
    picture = Image.new("RGB", (width, top + line * (rows + (2 if caption else 0)) + GAP), (16, 16, 16))
    left = GAP
    for panel in panels:
        picture.paste(panel, (left, GAP))
        left += panel.width + GAP
    draw = ImageDraw.Draw(picture)
    for number, c in enumerate(classes):
        x, y = GAP + number % columns * column, top + number // columns * line
        draw.rectangle((x, y + 3, x + 12, y + 15), fill=c.color)
        draw.text((x + 20, y), c.name, fill=(235, 235, 235), font=font)
    if caption:
        draw.text((GAP, top + line * (rows + 0.5)), caption, fill=(200, 200, 200), font=font)
    return picture
