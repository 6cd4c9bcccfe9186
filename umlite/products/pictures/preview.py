"""A preview: one picture of a segmentation, with three planes, a row of slices and a legend with volumes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from umlite.classes import AnatomyClass
from umlite.files import output_error
from umlite.outputs.file_set import Files
from umlite.products.elsewhere import given_path
from umlite.products.pictures.drawing import Slice, draw_label, draw_slice, read_slices, size_mm, window_of
from umlite.products.pictures.planes import Plane, planes_of
from umlite.products.pictures.views import choose_views
from umlite.products.place import Place
from umlite.products.product import Finished, Product
from umlite.results.segmentation import Segmentation

PANEL_PIXELS = (460, 460)
"""Most width and height of a plane."""
ROW_SLICES = 8
LEAST_WIDTH = 900
_GAP = 12
_ENTRY, _LINE = (270, 20)
_DARK, _BRIGHT, _FAINT = (16, 16, 16), (235, 235, 235), (170, 170, 170)


class Preview(Product):
    """A PNG where the user says.

    Args:
        where: a .png file, or a folder for those of several scans.
    """

    elsewhere = True
    needs_scan = True

    def __init__(self, where: str) -> None:
        self._where = where

    def paths(self, place: Place, classes: Sequence[AnatomyClass]) -> list[Path]:  # noqa: ARG002  one file for all
        return [given_path(self._where, place, ".png")]

    def write(self, files: Files, place: Place, finished: Finished) -> None:
        (path,) = self.paths(place, finished.result.classes)
        write_preview(files, path, finished.result, finished.result.card.notice)


def write_preview(files: Files, path: Path, result: Segmentation, caption: str = "") -> None:
    """Write a PNG: three planes and a row of axial slices with outlines, and volumes of the classes that were found.

    The patient's right is on the left, as radiologists show it.

    Args:
        files: the set that it joins.
        path: the file, under the name that it will have.
        result: what it shows.
        caption: text below the legend.

    Raises:
        OutputError: the file cannot be written.
        InputError: the scan cannot be read again.
    """
    picture = draw_preview(result, caption)
    try:
        picture.save(files.new(path), format="PNG")
    except OSError as error:
        raise output_error(error, path) from error


def draw_preview(result: Segmentation, caption: str = "") -> Image.Image:
    """The picture of `write_preview`. Raises InputError where the scan cannot be read again."""
    planes = planes_of(result.affine)
    views = choose_views(result, ROW_SLICES)
    middle = [(plane.across, views.middle[plane.across]) for plane in planes]
    row = [(planes[0].across, index) for index in views.row]
    slices = read_slices(result, [*middle, *row])
    panels = [
        _panel(result, slices[cut], plane, PANEL_PIXELS, f"{plane.name} {cut[1]}")
        for plane, cut in zip(planes, middle, strict=True)
    ]
    width = max(sum(panel.width + _GAP for panel in panels) + _GAP, LEAST_WIDTH)
    box = ((width - _GAP) // ROW_SLICES - _GAP, PANEL_PIXELS[1] // 2)
    small = [_panel(result, slices[cut], planes[0], box, str(cut[1])) for cut in row]
    return _stacked([_beside(panels, width), _beside(small, width), _legend(result, caption, width)])


def _panel(result: Segmentation, shown: Slice, plane: Plane, box: tuple[int, int], label: str) -> Image.Image:
    """A slice as large as fits into a box of pixels, with a label."""
    scale = min(pixels / mm for pixels, mm in zip(box, size_mm(plane, result.scan.shape), strict=True))
    panel = draw_slice(shown, plane, result.classes, scale, window_of(result.scan))
    draw_label(panel, label)
    return panel


def _beside(pictures: Sequence[Image.Image], width: int) -> Image.Image:
    """Pictures from left to right."""
    row = Image.new("RGB", (width, max(picture.height for picture in pictures)), _DARK)
    left = _GAP
    for picture in pictures:
        row.paste(picture, (left, 0))
        left += picture.width + _GAP
    return row


def _stacked(rows: Sequence[Image.Image]) -> Image.Image:
    """Rows of one width from top to bottom."""
    whole = Image.new("RGB", (rows[0].width, sum(row.height + _GAP for row in rows) + _GAP), _DARK)
    top = _GAP
    for row in rows:
        whole.paste(row, (0, top))
        top += row.height + _GAP
    return whole


def _legend(result: Segmentation, caption: str, width: int) -> Image.Image:
    """Colours, names and volumes of the classes that were found; how many were not; the caption."""
    volumes = result.volumes_ml
    found = [c for c in result.classes if result.voxels[c.name]]
    columns = max(1, (width - _GAP) // _ENTRY)
    rows = -(-len(found) // columns)
    missing = len(result.classes) - len(found)
    lines = [f"{missing} of {len(result.classes)} classes were not found."] if missing else []
    lines += [caption] if caption else []
    legend = Image.new("RGB", (width, _LINE * (rows + len(lines)) + 2), _DARK)
    draw, font = ImageDraw.Draw(legend), ImageFont.load_default(14)
    for number, c in enumerate(found):
        x, y = _GAP + number % columns * _ENTRY, number // columns * _LINE
        draw.rectangle((x, y + 3, x + 12, y + 15), fill=c.color)
        draw.text((x + 20, y), f"{c.name}  {volumes[c.name]:,.1f} ml", fill=_BRIGHT, font=font)
    for number, line in enumerate(lines, start=rows):
        draw.text((_GAP, number * _LINE), line, fill=_FAINT, font=font)
    return legend
