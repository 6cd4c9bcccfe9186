"""Pictures of lesions: their slices as the scanner stored them, never flipped, each with outlines and a caption."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from umlite.products.pictures.drawing import WINDOW_HU, Slice, read_slices
from umlite.results.lesions import Lesion
from umlite.results.segmentation import Segmentation
from umlite.results.statistics import Statistics

MOST_LESIONS = 20
"""The largest ones get a picture."""
_PLANE_AXIS = 2
_LEAST_PIXELS = 512
_TILE_PIXELS, _TILES_A_ROW = 256, 5
_LETTER_PIXELS, _LINE_PIXELS, _MARGIN_PIXELS = 9, 18, 6
_INK, _SHADE = (255, 255, 255), (0, 0, 0)
_ENDS = (("L", "R"), ("P", "A"), ("H", "F"))
"""DICOM's letters of the ends of each LPS axis, where it grows to first."""


@dataclass(frozen=True, eq=False)
class LesionPicture:
    """One slice with the outlines of all lesions in it, and a box around one.

    Args:
        lesion: whose slice it is.
        plane: number of the slice along the scan's last axis.
        pixels: uint8 [rows, columns, 3].
    """

    lesion: Lesion
    plane: int
    pixels: np.ndarray


def lesion_pictures(result: Segmentation, found: Statistics) -> list[LesionPicture]:
    """A picture of each of the largest lesions, the largest first, all of one size.

    Raises InputError where the scan cannot be read again.
    """
    lesions = sorted(found.lesions, key=lambda lesion: -lesion.volume_ml)[:MOST_LESIONS]
    planes = [key_plane(result, found, lesion) for lesion in lesions]
    slices = read_slices(result, ((_PLANE_AXIS, plane) for plane in planes))
    return [
        LesionPicture(lesion, plane, _picture(result, lesion, plane, slices[_PLANE_AXIS, plane]))
        for lesion, plane in zip(lesions, planes, strict=True)
    ]


def montage(pictures: Sequence[LesionPicture]) -> np.ndarray:
    """All pictures in one, small, row by row: uint8 [rows, columns, 3]."""
    first = Image.fromarray(pictures[0].pixels)
    scale = _TILE_PIXELS / max(first.size)
    width, height = (max(1, round(side * scale)) for side in first.size)
    columns = min(len(pictures), _TILES_A_ROW)
    whole = Image.new("RGB", (columns * width, -(-len(pictures) // columns) * height))
    for number, picture in enumerate(pictures):
        tile = Image.fromarray(picture.pixels).resize((width, height), Image.Resampling.LANCZOS)
        whole.paste(tile, (number % columns * width, number // columns * height))
    return np.array(whole)


def key_plane(result: Segmentation, found: Statistics, lesion: Lesion) -> int:
    """The plane of the scan's last axis that shows a lesion: that of its diameters, else the one through its middle."""
    if found.slice_axis == _PLANE_AXIS:
        return lesion.diameter_slice
    middle = np.linalg.inv(result.affine) @ (*lesion.centroid_mm, 1.0)
    return int(np.clip(np.rint(middle[2]), 0, result.scan.shape[2] - 1))


def directions(affine: np.ndarray) -> tuple[str, str]:
    """DICOM's letters for where rows and columns of a picture go, such as "L" and "P"."""
    return _letters(affine[:3, 0]), _letters(affine[:3, 1])


def _letters(direction_ras: np.ndarray) -> str:
    """The letter of the nearest axis."""
    lps = direction_ras * (-1, -1, 1)
    axis = int(np.argmax(np.abs(lps)))
    return _ENDS[axis][0 if lps[axis] > 0 else 1]


def _picture(result: Segmentation, lesion: Lesion, plane: int, shown: Slice) -> np.ndarray:
    low, high = WINDOW_HU
    grey = Image.fromarray((np.clip((shown.hu.T - low) / (high - low), 0, 1) * 255).astype(np.uint8))
    size = _size(result)
    pixels = np.array(grey.resize(size, Image.Resampling.BICUBIC).convert("RGB"))
    for c in result.classes:
        if c.kind == "tumor":
            pixels[_ring(_enlarged(shown.mask(c.name), size))] = c.color
    return _captioned(pixels, result, lesion, plane)


def _size(result: Segmentation) -> tuple[int, int]:
    """Columns and rows of pictures: square pixels, and enough of them."""
    x_mm, y_mm, _ = result.scan.spacing_mm
    columns, rows = result.scan.shape[:2]
    size_mm = np.array([columns * x_mm, rows * y_mm])
    scale = max(_LEAST_PIXELS, columns, rows) / size_mm.max()
    width, height = (max(1, round(float(mm * scale))) for mm in size_mm)
    return width, height


def _enlarged(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    picture = Image.fromarray(mask.T.astype(np.uint8) * 255)
    return np.array(picture.resize(size, Image.Resampling.BICUBIC)) >= 128


def _ring(mask: np.ndarray) -> np.ndarray:
    """Pixels right outside a mask, so that the lesion itself stays in view."""
    padded = np.pad(mask, 1)
    near = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return near & ~mask


def _captioned(pixels: np.ndarray, result: Segmentation, lesion: Lesion, plane: int) -> np.ndarray:
    picture = Image.fromarray(pixels)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    width, height = picture.size
    size = f"{lesion.axial_diameter_mm:.0f} x {lesion.perpendicular_mm:.0f} mm, {lesion.volume_ml:.2g} ml"
    left, top = directions(-result.affine)
    lines = ((8, 6, f"{lesion.id}   {size}"), (8, 26, f"slice {plane + 1} of {result.scan.shape[2]}"))
    for x, y, text in (*lines, (8, height // 2, left), (width // 2, 46, top)):
        draw.text((x, y), text, fill=_INK, font=font, stroke_width=2, stroke_fill=_SHADE)
    notice = textwrap.wrap(result.card.notice, width // _LETTER_PIXELS)
    for number, line in enumerate(notice):
        y = height - 6 - _LINE_PIXELS * (len(notice) - number)
        draw.text((8, y), line, fill=_INK, font=font, stroke_width=2, stroke_fill=_SHADE)
    draw.rectangle(_box(result, lesion, (width, height)), outline=_INK)
    return np.array(picture)


def _box(result: Segmentation, lesion: Lesion, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a square around a lesion, in pixels of a picture."""
    place = np.linalg.inv(result.affine) @ (*lesion.centroid_mm, 1.0)
    scale = np.array(size) / result.scan.shape[:2]
    x, y = (place[:2] + 0.5) * scale
    reach = lesion.diameter_mm / 2 / result.scan.spacing_mm[0] * scale[0] + _MARGIN_PIXELS
    return float(x - reach), float(y - reach), float(x + reach), float(y + reach)
