"""Scan in, masks out through the Python API, on a small network."""

from __future__ import annotations

import os
import shutil
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform

from support.samples import make_scan, small_card, small_model
from umlite import Segmentation, Segmenter
from umlite.classes import PUBLISHED
from umlite.errors import DeviceError, InputError, OutputError, RequestError, WeightsError
from umlite.request import Request
from umlite.sweep.runner import WindowCounts
from umlite.volume.reading import read_scan
from umlite.weights.loading import save_model


@pytest.fixture(scope="module")
def segmenter(small_weights: Path) -> Segmenter:
    return Segmenter(small_weights, device="cpu")


@pytest.fixture(scope="module")
def result(segmenter: Segmenter, scan_file: Path) -> Segmentation:
    return segmenter.segment(scan_file, classes=["liver", "pancreas_tumor", "kidney_right"])


def test_classes_are_known(segmenter: Segmenter) -> None:
    assert segmenter.classes.names == tuple(c.name for c in PUBLISHED)


def test_result(result: Segmentation, scan_file: Path) -> None:
    image = nib.load(scan_file)
    assert [c.name for c in result.classes] == ["liver", "pancreas_tumor", "right_kidney"]
    mask = result.mask("liver")
    assert mask.dtype == bool
    assert mask.shape == image.shape
    assert mask.any()
    assert np.array_equal(result.affine, image.affine)
    assert result.voxels["liver"] == mask.sum()
    assert result.volumes_ml["liver"] == pytest.approx(mask.sum() * 0.064)
    assert result.windows.run == result.windows.total > 1
    assert list(result.timings) == ["read", "prepare", "windows", "postprocess"]
    assert np.array_equal(result.mask("Right Kidney"), result.mask("kidney_right"))


def test_hosts_are_computed_and_not_given(result: Segmentation) -> None:
    with pytest.raises(RequestError, match="left_kidney"):
        result.mask("left_kidney")


def test_a_request_changes_no_other_class(segmenter: Segmenter, scan_file: Path) -> None:
    everything = segmenter.segment(scan_file)
    for request in ("liver_tumor", "left_lung,aorta", ["kidney_tumor"], "portal_vein_and_splenic_vein"):
        some = segmenter.segment(scan_file, request)
        for c in some.classes:
            differing = np.count_nonzero(some.mask(c.name) != everything.mask(c.name))
            assert differing <= 1e-4 * some.mask(c.name).size, c.name


def test_save_masks(result: Segmentation, tmp_path: Path) -> None:
    files = result.save(tmp_path / "out")
    assert sorted(f.name for f in files) == ["liver.nii.gz", "pancreas_tumor.nii.gz", "right_kidney.nii.gz"]
    image = nib.load(tmp_path / "out" / "liver.nii.gz")
    assert image.get_data_dtype() == np.uint8
    assert np.array_equal(image.affine, result.affine)
    assert np.array_equal(np.asarray(image.dataobj), result.mask("liver"))


def test_save_label_map(result: Segmentation, tmp_path: Path) -> None:
    (file,) = result.save(tmp_path / "labels.nii.gz")
    labels = np.asarray(nib.load(file).dataobj)
    assert set(np.unique(labels)) <= {0, 2, 6, 28}
    assert np.array_equal(labels == 28, result.mask("pancreas_tumor"))
    from umlite.results.label_table import read_label_names

    assert read_label_names(file) == {6: "liver", 28: "pancreas_tumor", 2: "right_kidney"}


def test_a_tilde_is_the_home_folder(
    segmenter: Segmenter, result: Segmentation, scan_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for nibabel."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shutil.copy(scan_file, "scan.nii.gz")
    assert segmenter.prepare("~/scan.nii.gz").scan.path == tmp_path / "scan.nii.gz"
    assert result.save("~/labels.nii.gz") == [tmp_path / "labels.nii.gz"]
    assert {path.parent for path in result.save("~/masks")} == {tmp_path / "masks"}
    with pytest.raises(OutputError, match="~no-such-user is not a user's home folder"):
        result.save("~no-such-user/masks")
    assert sorted(os.listdir()) == ["labels.nii.gz", "masks", "scan.nii.gz"]


def test_reference_engine_agrees(small_weights: Path, scan_file: Path, result: Segmentation) -> None:
    reference = Segmenter(small_weights, device="cpu", engine="reference")
    expected = reference.segment(scan_file, ["liver", "pancreas_tumor", "right_kidney"])
    assert expected.windows == result.windows
    for c in result.classes:
        assert np.count_nonzero(expected.mask(c.name) != result.mask(c.name)) <= 1e-4 * expected.mask(c.name).size


@pytest.mark.parametrize("axes", ["RAS", "LPS", "LAS", "RPI", "ASR", "SPL", "PIR", "IAL", "SRA", "ALI"])
def test_masks_lie_at_the_same_place_in_every_orientation(segmenter: Segmenter, axes: str) -> None:
    image = make_scan((30, 26, 22))
    transform = ornt_transform(nib.io_orientation(image.affine), axcodes2ornt(tuple(axes)))
    turned = image.as_reoriented(transform)
    expected, found = segmenter.segment(image, "liver"), segmenter.segment(turned, "liver")
    assert np.array_equal(found.affine, turned.affine)
    assert found.mask("liver").shape == turned.shape
    back = nib.Nifti1Image(found.mask("liver").astype(np.uint8), found.affine)
    back = back.as_reoriented(ornt_transform(axcodes2ornt(tuple(axes)), nib.io_orientation(image.affine)))
    assert np.allclose(back.affine, image.affine)
    assert np.array_equal(np.asarray(back.dataobj), expected.mask("liver"))
    assert inv_ornt_aff(transform, image.shape).shape == (4, 4)


@pytest.mark.parametrize("shape", [(3, 3, 3), (40, 30, 1), (1, 1, 1), (2, 60, 5)])
def test_small_and_thin_scans(segmenter: Segmenter, shape: tuple[int, int, int]) -> None:
    result = segmenter.segment(read_scan(make_scan(shape), force_geometry=True), "organs")
    assert result.mask("liver").shape == shape


def test_oblique_anisotropic_scan(segmenter: Segmenter) -> None:
    image = make_scan((24, 30, 20))
    angle = np.deg2rad(17)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([3.1, 4.2, 5.7])
    result = segmenter.segment(nib.Nifti1Image(np.asarray(image.dataobj), affine), "liver")
    assert np.allclose(result.affine, affine)
    assert result.volumes_ml["liver"] == pytest.approx(result.voxels["liver"] * 3.1 * 4.2 * 5.7 / 1000)


def test_only_air(segmenter: Segmenter) -> None:
    air = nib.Nifti1Image(np.full((10, 12, 14), -1000, np.int16), np.diag([4, 4, 4, 1.0]))
    result = segmenter.segment(air, "liver,kidney_tumor")
    assert result.windows == WindowCounts(0, 0, 0)
    assert not result.mask("liver").any()
    assert "all masks are empty" in result.warnings[-1]


def test_a_model_with_more_than_32_classes(tmp_path: Path, scan_file: Path) -> None:
    model = small_model(classes=40)
    save_model(tmp_path / "wide.safetensors", model.state_dict(), small_card(model))
    result = Segmenter(tmp_path / "wide.safetensors", device="cpu").segment(scan_file)
    assert len(result.classes) == 40
    assert result.mask("extra_40").shape == nib.load(scan_file).shape
    result.save(tmp_path / "all.nii.gz")


def test_names_mean_the_same_whatever_was_asked_for(tmp_path: Path, scan_file: Path) -> None:
    model = small_model(classes=34)
    card = small_card(model)
    names = (*card.classes[:32], "uterus", "extra_b")
    save_model(tmp_path / "e.safetensors", model.state_dict(), small_card(model, classes=names))
    segmenter = Segmenter(tmp_path / "e.safetensors", device="cpu")
    result = segmenter.segment(scan_file, ["uterus"], overlap=0)
    assert np.array_equal(result.mask("uterus"), result.mask("33"))
    result = segmenter.segment(scan_file, ["prostate", "extra_b"], overlap=0)
    for name in ("uterus", "33"):
        with pytest.raises(RequestError, match="No mask of 'uterus'"):
            result.mask(name)
    with pytest.raises(RequestError, match="name of one class"):
        result.mask("kidneys")


def test_a_scan_too_large_for_the_memory(segmenter: Segmenter, scan_file: Path, monkeypatch) -> None:
    monkeypatch.setattr("umlite.machine.memory.free_bytes", lambda _device: 10_000)
    with pytest.raises(DeviceError, match=r"1 classes over .* are free.*fewer classes"):
        segmenter.segment(scan_file, "spleen")


@pytest.mark.parametrize("output", ["masks", "labels.nii.gz"])
def test_memory_does_not_grow_with_the_length(
    segmenter: Segmenter, tmp_path: Path, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrays of numpy alone, from a file of 13 and of 26 MB to files of one class and its host."""
    monkeypatch.setattr("umlite.volume.voxels.HELD_BYTES", 0)
    segmenter.segment(make_scan((20, 20, 20)), "liver,liver_tumor", overlap=0.0).save(tmp_path / output)
    peaks = []
    for length in (400, 800):
        scan = np.asarray(make_scan((16, 16, length // 8)).dataobj).repeat(8, 0).repeat(8, 1).repeat(8, 2)
        nib.save(nib.Nifti1Image(np.asfortranarray(scan), np.diag([0.5, 0.5, 0.5, 1])), tmp_path / "long.nii.gz")
        del scan
        tracemalloc.start()
        result = segmenter.segment(tmp_path / "long.nii.gz", "liver,liver_tumor", overlap=0.0)
        result.save(tmp_path / output)
        assert result.voxels["liver"] > 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] < 2**25
    assert peaks[1] - peaks[0] < 2**20


def test_window_logits(segmenter: Segmenter) -> None:
    x = torch.rand(2, 1, 16, 24, 32, generator=torch.Generator().manual_seed(0))
    logits = segmenter.window_logits(x, classes=["pancreas_tumor", "liver"])
    assert logits.shape == (2, 2, 16, 24, 32)
    everything = segmenter.window_logits(x)
    torch.testing.assert_close(logits, everything[:, [27, 5]], atol=1e-4, rtol=1e-4)
    for wrong in (x[0], x[:, :, :15], x.expand(2, 2, 16, 24, 32), x[:, :, :0]):
        with pytest.raises(RequestError, match="multiples of 8"):
            segmenter.window_logits(wrong)


def test_blended_logits(segmenter: Segmenter, scan_file: Path) -> None:
    volume = segmenter.prepare(scan_file).volume
    logits = segmenter.blended_logits(volume, "liver")
    assert logits.shape == (1, *volume.voxels.shape)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"request": "liverr"}, RequestError),
        ({"request": ""}, RequestError),
        ({"opverlap": 0.5}, TypeError),
        ({"overlap": 1.0}, RequestError),
        ({"scan": "absent.nii.gz"}, InputError),
    ],
)
def test_what_cannot_be_done(segmenter: Segmenter, scan_file: Path, arguments: dict, error: type) -> None:
    with pytest.raises(error):
        segmenter.segment(**{"scan": scan_file, **arguments})


def test_weights_that_answer_nonsense(tmp_path: Path, scan_file: Path) -> None:
    model = small_model(classes=2)
    state = {k: v * 1e30 if "head_input" in k or "controller" in k else v for k, v in model.state_dict().items()}
    save_model(tmp_path / "a.safetensors", state, small_card(model))
    with pytest.raises(WeightsError, match="NaN or infinity"):
        Segmenter(tmp_path / "a.safetensors", device="cpu").segment(scan_file)


def test_probabilities(segmenter: Segmenter, scan_file: Path, tmp_path: Path) -> None:
    result = segmenter.segment(scan_file, "liver,pancreas_tumor", probabilities=True, folder=tmp_path)
    soft = result.probability("pancreas_tumor")  # a class that post-processing leaves as it is
    assert soft.dtype == np.float32
    assert soft.shape == nib.load(scan_file).shape
    assert np.mean((soft > 0.5) == result.mask("pancreas_tumor")) > 0.999  # trilinear here, nearest there
    (file, _) = sorted(result.save_probabilities(tmp_path / "out"))
    assert np.allclose(nib.load(file).get_fdata(), result.probability("liver"), atol=1e-6)
    without = segmenter.segment(scan_file, "liver")
    with pytest.raises(RequestError, match="has no probabilities"):
        without.probability("liver")


def test_the_steps_one_by_one_give_the_same(segmenter: Segmenter, scan_file: Path) -> None:
    whole = segmenter.segment(scan_file, "liver,pancreas_tumor", overlap=0.25)
    request = Request(("liver", "pancreas_tumor"), overlap=0.25)
    prepared = segmenter.prepare(read_scan(scan_file))
    other = segmenter.prepare(scan_file)  # the next scan may be read before this one is decided
    decided = segmenter.decide(prepared, request)
    segmenter.decide(other, "spleen", progress=lambda _done, _total: None)
    result = segmenter.finish(decided)
    assert list(result.timings) == ["read", "prepare", "windows", "postprocess"]
    assert result.windows == whole.windows
    for name in ("liver", "pancreas_tumor"):
        assert np.array_equal(result.mask(name), whole.mask(name))


def test_adaptive_windows(segmenter: Segmenter, scan_file: Path) -> None:
    everything = segmenter.segment(scan_file, "liver")
    adaptive = segmenter.segment(scan_file, "liver", windows="adaptive")
    assert adaptive.windows.total == everything.windows.total
    assert everything.undecided_voxels == 0
    assert adaptive.to_dict()["undecided_voxels"] == adaptive.undecided_voxels
    if adaptive.undecided_voxels == 0:
        assert (
            np.count_nonzero(adaptive.mask("liver") != everything.mask("liver")) <= 1e-4 * everything.mask("liver").size
        )
    with pytest.raises(RequestError, match="all or adaptive"):
        segmenter.segment(scan_file, "liver", windows="some")
