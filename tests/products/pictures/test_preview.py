"""Previews: slices in the right place, the right way up, in true proportion, with outlines and volumes."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, ornt_transform
from PIL import Image
from typer.testing import CliRunner

from support.samples import small_card, small_model
from umlite.class_table import ClassTable
from umlite.cli import app
from umlite.masks import on_scan as masks
from umlite.masks.bitmask import BitMask
from umlite.masks.on_scan import ResampledMasks
from umlite.products.pictures import drawing
from umlite.products.pictures.drawing import draw_slice, read_slices, size_mm
from umlite.products.pictures.planes import planes_of
from umlite.products.pictures.preview import draw_preview
from umlite.products.pictures.views import choose_views
from umlite.results.segmentation import Segmentation
from umlite.sweep.runner import WindowCounts
from umlite.volume import voxels
from umlite.volume.preparation import prepare_volume
from umlite.volume.reading import read_scan

TABLE = ClassTable(["liver", "liver_tumor", "spleen"])
LIVER = TABLE[0].color


def segmented(path: Path, axes: str = "RAS", *, liver: bool = True, lean: float = 0.0) -> Segmentation:
    """A body with a bright block at its right front top, segmented as the liver."""
    hu = np.full((40, 30, 20), -1000, np.float32)
    hu[5:35, 5:25, :] = 0
    affine = np.diag([2.0, 2, 4, 1])
    affine[1, 2] = lean
    image = nib.Nifti1Image(hu, affine)
    transform = ornt_transform(nib.io_orientation(affine), axcodes2ornt(tuple(axes)))
    nib.save(image.as_reoriented(transform), path)
    scan = read_scan(path)
    frame = prepare_volume(scan, (2.0, 2.0, 4.0), (-175.0, 250.0)).frame
    bits = BitMask.zeros(frame.shape, ["liver"])
    if not lean:
        assert (frame.start, frame.stop) == ((5, 5, 0), (35, 25, 20))
        bits.words[0][17:29, 7:19, 8:18] = liver
    counts = WindowCounts(1, 0, 1)
    return Segmentation(scan, (TABLE[0],), ResampledMasks(bits, frame), counts, {}, (), (), small_card(small_model()))


def pixels(result: Segmentation) -> np.ndarray:
    return np.array(draw_preview(result, "a caption"))


def test_the_patients_right_is_on_the_left(tmp_path: Path) -> None:
    outline = np.argwhere((pixels(segmented(tmp_path / "a.nii")) == LIVER).all(axis=2))
    axial = outline[(outline[:, 1] < 470) & (outline[:, 0] < 360)]
    assert 60 < axial[:, 1].mean() < 240  # RAS: larger x is the patient's right, shown on the left
    assert axial[:, 0].mean() < 180  # the front is up


@pytest.mark.parametrize("axes", ["LPS", "PIR", "SAL"])
def test_orientation_changes_only_the_numbers_of_slices(
    tmp_path: Path, axes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("umlite.products.pictures.preview.draw_label", lambda *_: None)
    expected, found = pixels(segmented(tmp_path / "a.nii")), pixels(segmented(tmp_path / "b.nii", axes))
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("axes", ["RAS", "PIR"])
def test_a_large_scan_is_read_again(tmp_path: Path, axes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = pixels(segmented(tmp_path / "a.nii", axes))
    monkeypatch.setattr(voxels, "HELD_BYTES", 0)
    monkeypatch.setattr(voxels, "_SLAB_BYTES", 1)
    monkeypatch.setattr(masks, "_SLAB_VOXELS", 1)
    monkeypatch.setattr(drawing, "_SLAB_VOXELS", 1)
    assert np.array_equal(pixels(segmented(tmp_path / "b.nii", axes)), expected)


def test_nothing_segmented_is_a_picture_too(tmp_path: Path) -> None:
    result = segmented(tmp_path / "a.nii", liver=False)
    assert not (pixels(result) == LIVER).all(axis=2).any()
    views = choose_views(result, 4)
    assert views.middle[2] in (9, 10)
    assert views.row == (0, 6, 13, 19)


def test_slices_go_through_most_classes(tmp_path: Path) -> None:
    views = choose_views(segmented(tmp_path / "a.nii"), 8)
    assert 22 <= views.middle[0] < 34
    assert 12 <= views.middle[1] < 24
    assert (views.row[0], views.row[-1]) == (8, 17)


def test_proportions_are_true_and_a_tilted_scan_leans(tmp_path: Path) -> None:
    result = segmented(tmp_path / "a.nii", lean=1.0)
    plane = planes_of(result.affine)[2]
    assert plane.name == "sagittal"
    assert size_mm(plane, result.scan.shape) == pytest.approx((30 * 2 + 20 * 1, 20 * 4))
    (shown,) = read_slices(result, [(0, 20)]).values()
    grey = np.array(draw_slice(shown, plane, (), 2.0))[:, :, 0]
    assert grey.shape == pytest.approx((160, 160), abs=1)
    top, bottom = (np.flatnonzero(grey[row] > 90).mean() for row in (2, -3))
    assert bottom - top == pytest.approx(
        39, abs=1.5
    )  # 20 slices of 1 mm at 2 pixels a mm; the head lies further in front


def test_the_command_line_writes_one_file_or_one_of_each_scan(
    tmp_path: Path, small_weights: Path, scan_file: Path
) -> None:
    def run(*arguments: object) -> object:
        common = ["-c", "liver,spleen", "--weights", small_weights, "-q"]
        return CliRunner().invoke(app, ["segment", *map(str, [*arguments, *common])])

    assert run(scan_file, "-o", tmp_path / "a", "--preview", tmp_path / "one.png").exit_code == 0
    assert Image.open(tmp_path / "one.png").size[0] >= 900
    other = tmp_path / "other.nii.gz"
    other.write_bytes(scan_file.read_bytes())
    assert run(scan_file, other, "-o", tmp_path / "b", "--preview", tmp_path / "all").exit_code == 0
    assert sorted(file.name for file in (tmp_path / "all").iterdir()) == ["other.png", "scan.png"]
    refused = run(scan_file, other, "-o", tmp_path / "c", "--preview", tmp_path / "one.png")
    assert refused.exit_code == 2
