"""Numbers of a segmentation equal SimpleITK's, numpy's and brute force, however the scan lies and is read."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from scipy import ndimage

from support.segmentations import blobs, oblique_affine, segmentation_of
from umlite.products.product import Finished
from umlite.results import lesions
from umlite.results import statistics as module
from umlite.results.statistics import statistics
from umlite.volume.reading import read_scan

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
EVERYWHERE = np.ones((3, 3, 3), bool)


@pytest.fixture(params=[1, 3, 100], autouse=True)
def planes_at_a_time(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SLAB_VOXELS", request.param * 18 * 15)


def random_scan(seed: int, dtype: type = np.int16) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Masks, HU and an oblique affine."""
    rng = np.random.default_rng(seed)
    shape = (18, 15, 13)
    masks = {
        "liver": blobs(rng, shape, 0.4),
        "aorta": blobs(rng, shape, 0.1),
        "liver_tumor": blobs(rng, shape, 0.15),
        "spleen": np.zeros(shape, bool),
    }
    hu = rng.normal(40, 200, shape)
    return masks, (hu.round() if dtype is np.int16 else hu).astype(dtype), oblique_affine(rng)


def as_itk(array: np.ndarray, affine: np.ndarray) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.T))
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((RAS_TO_LPS @ affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin((RAS_TO_LPS @ affine[:3, 3]).tolist())
    return image


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("seed", range(5))
def test_equal_to_simpleitk(seed: int, dtype: type) -> None:
    masks, hu, affine = random_scan(seed, dtype)
    found = {c.name: c for c in statistics(segmentation_of(masks, hu, affine)).classes}
    assert list(found) == list(masks)
    for name in ("liver", "aorta", "liver_tumor"):
        mask, ours = masks[name], found[name]
        labels = as_itk(mask.astype(np.uint8), affine)
        shape, values = SimpleITK.LabelShapeStatisticsImageFilter(), SimpleITK.LabelStatisticsImageFilter()
        shape.Execute(labels)
        values.Execute(as_itk(hu, affine), labels)
        assert ours.voxels == shape.GetNumberOfPixels(1)
        assert ours.volume_ml == pytest.approx(shape.GetPhysicalSize(1) / 1000, rel=1e-6)
        np.testing.assert_allclose(RAS_TO_LPS @ ours.centroid_mm, shape.GetCentroid(1), atol=1e-4)
        box = np.array(shape.GetBoundingBox(1))
        assert ours.first_voxel == tuple(box[:3])
        assert ours.last_voxel == tuple(box[:3] + box[3:] - 1)
        assert ours.hu.mean == pytest.approx(values.GetMean(1), rel=1e-6)
        assert ours.hu.sd == pytest.approx(values.GetSigma(1), rel=1e-6)
        assert (ours.hu.minimum, ours.hu.maximum) == (values.GetMinimum(1), values.GetMaximum(1))
        pieces = SimpleITK.ConnectedComponent(labels, True)
        shape.Execute(pieces)
        assert ours.components == shape.GetNumberOfLabels()
        largest = max(shape.GetNumberOfPixels(label) for label in shape.GetLabels())
        assert ours.largest_share == pytest.approx(largest / ours.voxels)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.int16, 1e-9), (np.float32, 0.03)])
def test_percentiles_equal_numpys(dtype: type, tolerance: float) -> None:
    masks, hu, affine = random_scan(0, dtype)
    for found in statistics(segmentation_of(masks, hu, affine)).classes[:3]:
        expected = np.percentile(hu[masks[found.name]].astype(np.float64), [5, 50, 95])
        np.testing.assert_allclose([found.hu.p5, found.hu.median, found.hu.p95], expected, atol=tolerance)


def test_a_scan_that_stays_in_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    masks, hu, affine = random_scan(0)
    result = segmentation_of(masks, hu, affine)
    nib.save(nib.Nifti1Image(hu, affine), tmp_path / "scan.nii.gz")
    monkeypatch.setattr("umlite.volume.voxels.HELD_BYTES", 0)
    scan = dataclasses.replace(read_scan(tmp_path / "scan.nii.gz", force_geometry=True), affine=result.affine)
    assert not scan.is_held
    assert statistics(dataclasses.replace(result, scan=scan)) == statistics(result)


def test_an_absurd_voxel_does_not_spoil_percentiles() -> None:
    masks, hu, affine = random_scan(0, np.float32)
    hu[tuple(np.argwhere(masks["liver"])[0])] = 1e20
    liver = statistics(segmentation_of(masks, hu, affine)).classes[0]
    expected = np.percentile(hu[masks["liver"]].astype(np.float64), [5, 50, 95])
    np.testing.assert_allclose([liver.hu.p5, liver.hu.median, liver.hu.p95], expected, atol=0.3)
    assert liver.hu.maximum == np.float32(1e20)


def test_a_single_voxel() -> None:
    mask = np.zeros((18, 15, 13), bool)
    mask[3, 4, 5] = True
    result = statistics(segmentation_of({"liver_tumor": mask}, np.full(mask.shape, 7, np.int16), np.diag([1, 2, 3, 1])))
    (found,), (lesion,) = result.classes, result.lesions
    assert (found.hu.mean, found.hu.sd, found.hu.p5, found.hu.maximum) == (7, 0, 7, 7)
    assert (found.first_voxel, found.last_voxel, found.centroid_mm) == ((3, 4, 5), (3, 4, 5), (3, 8, 15))
    assert (lesion.axial_diameter_mm, lesion.perpendicular_mm, lesion.diameter_mm) == (2, 1, 3)
    assert (lesion.host, lesion.host_share, lesion.contrast_hu, lesion.nearest_vessel) == (None, 0, None, None)


def test_an_empty_class_is_no_complete_organ() -> None:
    masks, hu, affine = random_scan(0)
    spleen = statistics(segmentation_of(masks, hu, affine)).classes[3]
    assert (spleen.voxels, spleen.complete, spleen.hu, spleen.centroid_mm, spleen.components) == (
        0,
        None,
        None,
        None,
        0,
    )
    assert spleen.to_dict()["complete"] is None


@pytest.mark.parametrize("flips", list(itertools.product((1, -1), repeat=3)))
def test_faces_where_an_organ_is_cut(flips: tuple[int, int, int]) -> None:
    order = np.eye(4)[[1, 2, 0, 3]]  # stored axes run to the front or back, to head or feet, to right or left
    affine = order.T @ np.diag([*flips, 1.0])
    masks = {}
    for axis, names in enumerate((("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))):
        stored = int(np.argmax(np.abs(affine[axis, :3])))
        for end, name in zip((0, -1), names, strict=True):
            mask = np.zeros((18, 15, 13), bool)
            mask[8, 8, 8] = True
            place = [8, 8, 8]
            place[stored] = end if affine[axis, stored] > 0 else -1 - end
            mask[tuple(place)] = True
            masks[name] = mask
    for name, mask in masks.items():
        (found,) = statistics(segmentation_of({"liver": mask}, np.zeros(mask.shape, np.int16), affine)).classes
        assert (found.cut_faces, found.complete) == ((name,), False)


def test_surface_of_a_ball_and_of_sheared_boxes() -> None:
    x, y, z = np.ogrid[-20:21, -20:21, -20:21]
    ball = x * x + y * y + z * z <= 18.3**2
    (found,) = statistics(segmentation_of({"liver": ball}, np.zeros(ball.shape, np.int16), np.eye(4))).classes
    assert found.surface_mm2 == pytest.approx(4 * np.pi * 18.3**2, rel=0.1)  # stairs are longer than what they follow
    affine = np.eye(4)
    affine[0, 2] = 1.0
    areas = []
    for side in (8, 10):
        box = np.zeros((18, 15, 13), bool)
        box[1 : side + 1, 1 : side + 1, 1 : side + 1] = True
        result = statistics(segmentation_of({"liver": box}, np.zeros(box.shape, np.int16), affine))
        areas.append(result.classes[0].surface_mm2)
    top, front, side_area = 1, 1, np.sqrt(2)  # of a cell's faces in a sheared grid
    quadratic = np.polyfit([8, 10], np.array(areas) / [8, 10], 1)[0]
    assert quadratic == pytest.approx(2 * (top + front + side_area), rel=0.06)


@pytest.mark.parametrize("sheared", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_lesions_equal_brute_force(seed: int, sheared: bool) -> None:
    masks, hu, _ = random_scan(seed)
    affine = oblique_affine(np.random.default_rng(seed), sheared=sheared)
    result = statistics(segmentation_of(masks, hu, affine))
    labels, count = ndimage.label(masks["liver_tumor"], EVERYWHERE)
    assert len(result.lesions) == count > 1
    assert [lesion.id for lesion in result.lesions] == [f"liver_tumor_{n}" for n in range(1, count + 1)]
    assert [lesion.voxels for lesion in result.lesions] == sorted(np.bincount(labels.ravel())[1:], reverse=True)
    parts = {tuple(np.round(centroid_mm(labels == n, affine), 6)): labels == n for n in range(1, count + 1)}
    for lesion in result.lesions:
        part = parts[tuple(np.round(lesion.centroid_mm, 6))]
        check_lesion(lesion, part, masks, hu, affine, result.slice_axis)


def check_lesion(lesion, part, masks, hu, affine, axis) -> None:
    axes = affine[:3, :3]
    places = np.argwhere(part)
    in_plane = [a for a in range(3) if a != axis]
    assert (lesion.first_slice, lesion.last_slice) == (places[:, axis].min(), places[:, axis].max())
    assert lesion.mean_hu == pytest.approx(hu[part].mean())
    assert lesion.volume_ml == pytest.approx(part.sum() * abs(np.linalg.det(axes)) / 1000)
    assert lesion.diameter_mm == pytest.approx(longest(places, axes, range(3))[0])
    by_slice = {z: longest(places[places[:, axis] == z], axes, in_plane) for z in np.unique(places[:, axis])}
    assert lesion.axial_diameter_mm == pytest.approx(max(length for length, _ in by_slice.values()))
    length, lines = by_slice[lesion.diameter_slice]
    assert lesion.axial_diameter_mm == pytest.approx(length)
    slice_places = places[places[:, axis] == lesion.diameter_slice]
    widths = [width(slice_places, axes, in_plane, line) for line in lines]
    assert min(abs(lesion.perpendicular_mm - w) for w in widths) < 1e-6
    inside = part & masks["liver"]
    assert lesion.host == ("liver" if inside.any() else None)
    assert lesion.host_share == pytest.approx(inside.sum() / part.sum())
    apart = (places[:, None] - np.argwhere(masks["liver"])[None]) @ axes.T
    assert lesion.host_distance_mm == pytest.approx(np.linalg.norm(apart, axis=2).min(), abs=1e-9)
    if inside.any():
        host = masks["liver"] & ~masks["liver_tumor"]
        assert lesion.contrast_hu == pytest.approx(hu[part].mean() - hu[host].mean())
    apart = (places[:, None] - np.argwhere(masks["aorta"])[None]) @ axes.T
    assert lesion.nearest_vessel == "aorta"
    assert lesion.vessel_distance_mm == pytest.approx(np.linalg.norm(apart, axis=2).min(), abs=1e-9)


def test_of_a_mask_of_noise_the_largest_lesions_are_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lesions, "MOST_DESCRIBED", 3)
    masks = {"liver_tumor": np.zeros((18, 15, 13), bool), "colon_tumor": np.zeros((18, 15, 13), bool)}
    for at in range(5):
        masks["liver_tumor"][2 : 3 + at, 2, 2 * at] = True
    masks["colon_tumor"][3, 3, [0, 4, 8]] = True
    finished = Finished(segmentation_of(masks, np.zeros((18, 15, 13), np.int16), np.eye(4)))
    found = finished.statistics
    sizes = {one.id: one.voxels for one in found.lesions if one.class_name == "liver_tumor"}
    assert sizes == {"liver_tumor_1": 5, "liver_tumor_2": 4, "liver_tumor_3": 3}
    assert [c.components for c in found.classes] == [5, 3]
    assert finished.remarks == ["liver_tumor is in 5 pieces, of which the 3 largest are described as lesions."]


@pytest.mark.parametrize("seed", range(3))
def test_overlaps_equal_brute_force(seed: int) -> None:
    masks, hu, affine = random_scan(seed)
    result = statistics(segmentation_of(masks, hu, affine))
    expected = {}
    for pair in itertools.combinations(masks, 2):
        one, two = (masks[name] for name in pair)
        if shared := int((one & two).sum()):
            expected[pair] = shared, pytest.approx(shared / min(one.sum(), two.sum()))
    assert {o.classes: (o.voxels, o.share) for o in result.overlaps} == expected
    assert len(expected) == 3


def centroid_mm(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + affine[:3, 3]


def outline(places: np.ndarray, axes: np.ndarray, along: object) -> np.ndarray:
    """Points half a step from every voxel along these axes, mm."""
    steps = [sign * axes[:, a] / 2 for a in along for sign in (1, -1)]
    return np.concatenate([places @ axes.T + step for step in steps])


def longest(places: np.ndarray, axes: np.ndarray, along: object) -> tuple[float, np.ndarray]:
    """The longest distance of two points of the outline, and all lines of that length."""
    points = outline(places, axes, along)
    apart = points[:, None] - points[None]
    lengths = np.linalg.norm(apart, axis=2)
    return lengths.max(), apart[lengths > lengths.max() - 1e-6]


def width(places: np.ndarray, axes: np.ndarray, in_plane: list[int], line: np.ndarray) -> float:
    normal = np.cross(axes[:, in_plane[0]], axes[:, in_plane[1]])
    across = np.cross(normal, line)
    return float(np.ptp(outline(places, axes, in_plane) @ (across / np.linalg.norm(across))))
