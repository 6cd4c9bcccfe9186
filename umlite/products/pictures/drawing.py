"""Slices of a scan drawn as pictures: greys of a window, outlines of classes, in true proportion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from umlite.classes import KINDS, AnatomyClass
from umlite.masks.bitmask import BitMask
from umlite.products.pictures.planes import Plane
from umlite.results.segmentation import Segmentation
from umlite.volume.reading import Scan

WINDOW_HU = (-160.0, 240.0)  # soft tissue, as radiologists view an abdomen
_FEW_HU = 256.0
_OUTLINE_PIXELS = 2
_SLAB_VOXELS = 1 << 22
_LANCZOS = Image.Resampling.LANCZOS

Cut = tuple[int, int]
"""A plane of voxels of the scan: the stored axis across it, and the index along that axis."""


@dataclass(frozen=True, eq=False)
class Slice:
    """One plane of voxels along the two other stored axes in order. hu: [A, B]. masks: [A, B, 1]."""

    hu: npt.NDArray[np.float32]
    masks: BitMask

    def mask(self, name: str) -> npt.NDArray[np.bool_]:
        """Mask of one class."""
        return self.masks.mask(name)[:, :, 0]


def read_slices(result: Segmentation, cuts: Iterable[Cut]) -> dict[Cut, Slice]:
    """Read the scan and its masks once and keep these planes. Raises InputError where the scan cannot be read again."""
    wanted = set(cuts)
    x, y, _ = result.scan.shape
    planes = max(1, _SLAB_VOXELS // (x * y))
    parts: dict[Cut, list[Slice]] = {cut: [] for cut in wanted}
    first = 0
    for hu, masks in zip(result.scan.slabs(planes), result.masks.slabs(planes), strict=True):
        for axis, index in wanted:
            if axis == 2 and not first <= index < first + hu.shape[2]:
                continue
            at = index - first if axis == 2 else index
            parts[axis, index].append(Slice(_across(hu, axis, at), _plane(masks, axis, at)))
        first += hu.shape[2]
    return {cut: _joined(found) for cut, found in parts.items()}


def _joined(parts: Sequence[Slice]) -> Slice:
    """One slice from its parts, which follow each other along the second axis."""
    masks = parts[0].masks
    words = zip(*(part.masks.words for part in parts), strict=True)
    whole = BitMask(tuple(np.concatenate(some, axis=1) for some in words), masks.names)
    return Slice(np.concatenate([part.hu for part in parts], axis=1), whole)


def _plane(masks: BitMask, axis: int, index: int) -> BitMask:
    return masks.mapped(lambda word: _across(word, axis, index)[:, :, None])


def _across(values: np.ndarray, axis: int, index: int) -> np.ndarray:
    """A copy of one plane of voxels."""
    return np.moveaxis(values, axis, 0)[index].copy()


def size_mm(plane: Plane, shape: Sequence[int]) -> tuple[float, float]:
    """Width and height of a plane of a scan with this shape."""
    columns, rows = (shape[axis] for axis in plane.axes)
    return columns * plane.step_mm[0] + rows * abs(plane.lean_mm), rows * plane.step_mm[1]


def window_of(scan: Scan) -> tuple[float, float]:
    """HU that become black and white: soft tissue's, or the whole range of a scan of few HU, as one from 0 to 1."""
    low, high = scan.voxels.ends()
    return WINDOW_HU if high - low >= _FEW_HU else (low, high if high > low else low + 1)


def draw_slice(
    shown: Slice,
    plane: Plane,
    classes: Sequence[AnatomyClass],
    pixels_per_mm: float,
    window_hu: tuple[float, float] = WINDOW_HU,
) -> Image.Image:
    """One slice with outlines, at equal scale in both directions; leaning where the scan is tilted.

    Lesions are drawn over vessels, and vessels over organs.
    """
    low, high = window_hu
    grey = (np.clip((shown.hu - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    pixels = np.stack([_placed(grey, plane, pixels_per_mm)] * 3, axis=2)
    for c in sorted(classes, key=lambda c: KINDS.index(c.kind)):
        mask = shown.mask(c.name)
        if mask.any():
            large = _placed(mask.astype(np.uint8) * 255, plane, pixels_per_mm) >= 128
            pixels[_outline(large)] = c.color
    return Image.fromarray(pixels)


def draw_label(picture: Image.Image, text: str, size: int = 15) -> None:
    """Write into the upper left corner, readable on any grey."""
    ImageDraw.Draw(picture).text(
        (6, 4), text, fill=(255, 255, 255), font=ImageFont.load_default(size), stroke_width=2, stroke_fill=(0, 0, 0)
    )


def _placed(values: npt.NDArray[np.uint8], plane: Plane, pixels_per_mm: float) -> npt.NDArray[np.uint8]:
    """Turn a slice the right way up and resize it, [rows, columns]."""
    upright = values.T if plane.axes[0] < plane.axes[1] else values
    upright = upright[:: -1 if plane.reversed[1] else 1, :: -1 if plane.reversed[0] else 1]
    rows, columns = upright.shape
    width, height = (
        max(round(n * mm * pixels_per_mm), 1) for n, mm in zip((columns, rows), plane.step_mm, strict=True)
    )
    picture = Image.fromarray(np.ascontiguousarray(upright)).resize((width, height), _LANCZOS)
    leaning = rows * plane.lean_mm * pixels_per_mm
    if abs(leaning) >= 1:
        a_row = leaning / height
        shift = (1.0, -a_row, min(leaning, 0.0), 0.0, 1.0, 0.0)  # from a pixel of the result to one of the picture
        size = (width + round(abs(leaning)), height)
        picture = picture.transform(size, Image.Transform.AFFINE, shift, Image.Resampling.BILINEAR)
    return np.asarray(picture)


def _outline(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels of the mask near its edge."""
    inner = mask
    for _ in range(_OUTLINE_PIXELS):
        padded = np.pad(inner, 1)
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner
