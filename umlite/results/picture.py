"""A picture of a segmentation: axial, coronal and sagittal slices with coloured outlines and a legend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from umlite.classes import AnatomyClass
from umlite.files import output_error
from umlite.masks.bitmask import BitMask
from umlite.masks.on_scan import MasksOnScan
from umlite.outputs.file_set import Files
from umlite.volume.reading import Scan

WINDOW_HU = (-160.0, 240.0)  # soft tissue, as radiologists view an abdomen
PANEL_PIXELS = 480  # of the longest side of a panel
GAP = 12
PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}  # RAS axis across each plane


def write_picture(
    files: Files, path: Path, scan: Scan, masks: MasksOnScan, classes: Sequence[AnatomyClass], caption: str = ""
) -> Path:
    """Write a PNG: slices through the middle of the masks, with outlines over the scan and a legend of visible classes.

    The patient's right is on the left, as radiologists show it.

    Args:
        files: the set that it joins.
        path: the file, under the name that it will have.
        scan: the scan; read again if its voxels are not in memory.
        masks: masks on its grid.
        classes: the classes to outline.
        caption: text below the legend.

    Raises:
        OutputError: the file cannot be written.
        InputError: the scan cannot be read again.
    """
    orientation = nib.io_orientation(scan.affine)
    stored = orientation[:, 0].argsort()  # the scan's axis that runs along each RAS axis
    place = _middle(masks, orientation[:, 1] < 0)
    hu = _slices(scan.slabs(), place)
    bits = _slices((slab.bits for slab in masks.slabs()), place)
    seen: dict[str, AnatomyClass] = {}
    panels = []
    for name, axis in PLANES.items():
        grey = nib.apply_orientation(hu[stored[axis]], orientation).squeeze(axis)
        shown = BitMask(nib.apply_orientation(bits[stored[axis]], orientation), masks.names)
        spacing = [float(np.linalg.norm(scan.affine[:3, stored[a]])) for a in range(3) if a != axis]
        panel = _panel(grey, shown, classes, axis, spacing, seen)
        ImageDraw.Draw(panel).text((6, 4), name, fill=(255, 255, 255), font=ImageFont.load_default(15))
        panels.append(panel)
    picture = _compose(panels, list(seen.values()), caption)
    try:
        picture.save(files.new(path), format="PNG")
    except OSError as error:
        raise output_error(error, path) from error
    return path


def _middle(masks: MasksOnScan, flips: Sequence[bool]) -> list[int]:
    """The voxel at the centre of everything segmented, or at the centre of the scan if nothing was.

    Along axes that run against RAS (`flips`) it is rounded the other way, so that the voxel is the same in RAS.
    """
    x, y, z = (np.zeros(n, np.int64) for n in masks.shape)
    first = 0
    for slab in masks.slabs():
        found = slab.bits != 0
        x += found.sum(axis=(1, 2))
        y += found.sum(axis=(0, 2))
        z[first : first + found.shape[2]] = found.sum(axis=(0, 1))
        first += found.shape[2]
    place = []
    for profile, flip in zip((x, y, z), flips, strict=True):
        along, n = profile[::-1] if flip else profile, len(profile)
        middle = int(np.average(np.arange(n), weights=along)) if along.any() else n // 2
        place.append(n - 1 - middle if flip else middle)
    return place


def _slices(slabs: Iterable[np.ndarray], place: Sequence[int]) -> list[np.ndarray]:
    """The three slices of a volume through `place`, one voxel thick, from slabs along its last axis in order."""
    sagittal, coronal, axial = [], [], []
    first = 0
    for slab in slabs:
        sagittal.append(slab[place[0] : place[0] + 1].copy())
        coronal.append(slab[:, place[1] : place[1] + 1].copy())
        axial.append(slab[:, :, max(place[2] - first, 0) : max(place[2] + 1 - first, 0)].copy())
        first += slab.shape[2]
    return [np.concatenate(parts, axis=2) for parts in (sagittal, coronal, axial)]


def _panel(
    hu: np.ndarray,
    bits: BitMask,
    classes: Sequence[AnatomyClass],
    axis: int,
    spacing: Sequence[float],
    seen: dict[str, AnatomyClass],
) -> Image.Image:
    """One slice with outlines, at equal scale in both directions.

    Args:
        hu: [across, up].
        bits: masks of the slice, one voxel thick along `axis`.
        classes: the classes to outline.
        axis: the RAS axis across the slice.
        spacing: mm per voxel, across and up.
        seen: collects the classes that the slice shows.
    """
    low, high = WINDOW_HU
    grey = np.clip((_upright(hu) - low) / (high - low), 0, 1) * 255
    size_mm = np.array(hu.shape) * spacing
    width, height = np.maximum((size_mm * PANEL_PIXELS / size_mm.max()).astype(int), 1)
    panel = Image.fromarray(grey.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC).convert("RGB")
    pixels = np.array(panel)
    for c in sorted(classes, key=lambda c: c.kind == "tumor"):
        mask = _upright(np.squeeze(bits.mask(c.name), axis))
        if not mask.any():
            continue
        seen.setdefault(c.name, c)
        large = np.array(Image.fromarray(mask.astype(np.uint8) * 255).resize((width, height), Image.Resampling.BICUBIC))
        pixels[_outline(large >= 128)] = c.color
    return Image.fromarray(pixels)


def _upright(plane: np.ndarray) -> np.ndarray:
    """Turn [across, up] in RAS into rows from the top, with the patient's right (or front) on the left."""
    return np.flip(plane, (0, 1)).T


def _outline(mask: np.ndarray) -> np.ndarray:
    """Pixels of the mask within two pixels of its edge."""
    inner = mask.copy()
    for _ in range(2):
        padded = np.pad(inner, 1)
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _compose(panels: list[Image.Image], classes: list[AnatomyClass], caption: str) -> Image.Image:
    """Panels side by side, with the legend and the caption below."""
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
