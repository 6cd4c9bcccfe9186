"""Segmentation NRRDs, read back by pynrrd and SimpleITK."""

from __future__ import annotations

import re
from pathlib import Path

import nrrd
import numpy as np
import pytest
import SimpleITK

import umlite.masks.on_scan as on_scan
from support.segmentations import blobs, oblique_affine, segmentation_of
from umlite.names import OWN, names_of
from umlite.outputs.file_set import together
from umlite.products.nrrd import write_seg_nrrd
from umlite.results.segmentation import Segmentation

SHAPE = (9, 7, 11)
LPS = np.diag([-1.0, -1.0, 1.0])


def written(path: Path, result: Segmentation, tool: str = OWN) -> Path:
    with together(path.parent) as files:
        write_seg_nrrd(files, path, result, names_of(result.classes, tool))
    return path


def made(masks: dict[str, np.ndarray], affine: np.ndarray | None = None) -> Segmentation:
    rng = np.random.default_rng(5)
    hu = rng.integers(-1000, 1000, SHAPE).astype(np.int16)
    return segmentation_of(masks, hu, np.diag([2.0, 2.0, 3.0, 1.0]) if affine is None else affine)


def apart() -> dict[str, np.ndarray]:
    masks = {name: np.zeros(SHAPE, bool) for name in ("liver", "right_kidney", "liver_tumor")}
    masks["liver"][1:4, 2:5, 3:9] = True
    masks["liver_tumor"][5:7, 2:5, 10] = True
    return masks


def masks_in(path: Path) -> dict[str, np.ndarray]:
    """Masks as the header describes them, by name of segment."""
    voxels, header = nrrd.read(str(path))
    found = {}
    for number in range(sum(re.fullmatch(r"Segment\d+_ID", key) is not None for key in header)):
        layer, label = (int(header[f"Segment{number}_{field}"]) for field in ("Layer", "LabelValue"))
        mask = (voxels[layer] if voxels.ndim == 4 else voxels) == label
        found[header[f"Segment{number}_Name"]] = mask
        ends = [int(end) for end in header[f"Segment{number}_Extent"].split()]
        box = tuple(slice(low, high + 1) for low, high in zip(ends[::2], ends[1::2], strict=True))
        assert mask[box].sum() == mask.sum()
        if mask.any():
            assert all(mask[box].any(axis=tuple({0, 1, 2} - {axis}))[[0, -1]].all() for axis in range(3))
    return found


@pytest.mark.parametrize("sheared", [False, True])
def test_overlapping_masks_on_oblique_grids(tmp_path: Path, sheared: bool) -> None:
    rng = np.random.default_rng(3 + sheared)
    masks = {name: blobs(rng, SHAPE) for name in ("liver", "liver_tumor", "aorta", "hepatic_vessel")}
    result = made(masks, oblique_affine(rng, sheared=sheared))
    path = written(tmp_path / "x.seg.nrrd", result)
    found = masks_in(path)
    assert list(found) == list(masks)
    assert all(np.array_equal(found[name], mask) for name, mask in masks.items())
    header = nrrd.read_header(str(path))
    assert header["kinds"] == ["list", "domain", "domain", "domain"]
    assert header["space"] == "left-posterior-superior"
    assert np.isnan(header["space directions"][0]).all()
    if not sheared:  # ITK knows no sheared grids
        layers = SimpleITK.ReadImage(str(path))
        assert layers.GetNumberOfComponentsPerPixel() == header["sizes"][0]
        assert np.array_equal(SimpleITK.GetArrayFromImage(layers).transpose(3, 2, 1, 0), nrrd.read(str(path))[0])
    assert np.array_equal(np.array(header["space directions"][1:]).T, LPS @ result.affine[:3, :3])
    assert np.array_equal(header["space origin"], LPS @ result.affine[:3, 3])


def test_without_overlaps_there_is_one_layer_that_itk_places(tmp_path: Path) -> None:
    affine = oblique_affine(np.random.default_rng(8))
    result = made(apart(), affine)
    path = written(tmp_path / "x.seg.nrrd", result)
    assert [mask.sum() for mask in masks_in(path).values()] == [54, 0, 6]
    image = SimpleITK.ReadImage(str(path))
    voxels = SimpleITK.GetArrayFromImage(image).T
    assert np.array_equal(voxels == 6, result.mask("liver"))
    assert np.array_equal(voxels == 27, result.mask("liver_tumor"))
    for place in ((0, 0, 0), (8, 3, 10)):
        point = LPS @ (result.affine @ [*place, 1])[:3]
        assert image.TransformIndexToPhysicalPoint(place) == pytest.approx(point, abs=1e-4)


def test_names_colours_and_terminology(tmp_path: Path) -> None:
    header = nrrd.read_header(str(written(tmp_path / "x.seg.nrrd", made(apart()), "abdomenatlas")))
    segments = [{k[9:]: v for k, v in header.items() if k.startswith(f"Segment{n}_")} for n in range(3)]
    assert [s["Name"] for s in segments] == ["liver", "kidney_right", "liver_lesion"]
    assert [s["ID"] for s in segments] == ["liver", "right_kidney", "liver_tumor"]
    assert [s["LabelValue"] for s in segments] == ["6", "2", "27"]
    assert [s["Extent"] for s in segments] == ["1 3 2 4 3 8", "0 -1 0 -1 0 -1", "5 6 2 4 10 10"]
    assert segments[2]["Color"] == "1 0.921569 0"
    kidney, tumor = segments[1]["Tags"], segments[2]["Tags"]
    assert "~SCT^91723000^Anatomical structure~SCT^64033007^Kidney~SCT^24028007^Right~" in kidney
    assert tumor.endswith("~SCT^108369006^Neoplasm~^^~Anatomic codes - DICOM master list~SCT^10200004^Liver~^^|")


def test_equal_bytes_whatever_is_read_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = made(apart())
    first = written(tmp_path / "a.seg.nrrd", result).read_bytes()
    assert first == written(tmp_path / "b.seg.nrrd", result).read_bytes()
    monkeypatch.setattr(on_scan, "_SLAB_VOXELS", 1)
    assert {k: m.tolist() for k, m in masks_in(written(tmp_path / "c.seg.nrrd", result)).items()} == {
        k: m.tolist() for k, m in masks_in(tmp_path / "a.seg.nrrd").items()
    }
