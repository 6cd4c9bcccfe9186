"""Statistics of lesions with details: logits and hosts that nobody asked for, and the same masks as without."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from support.samples import make_scan
from umlite import Segmenter
from umlite.results.statistics import statistics
from umlite.volume.preparation import restore

ASKED = "kidney_cyst,lung_tumor,aorta"
HOSTS = {"kidney_cyst": ("right_kidney", "left_kidney"), "lung_tumor": ("right_lung", "left_lung")}


def turned() -> nib.Nifti1Image:
    """A scan on an oblique grid of other spacings."""
    image = make_scan((34, 30, 26))
    angle = np.deg2rad(17)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = nib.affines.from_matvec(turn @ np.diag([-3.1, 4.2, 5.7]), (40, -30, 7))
    return nib.Nifti1Image(np.asarray(image.dataobj), affine)


@pytest.mark.parametrize("how", [{"kernels": "native"}, {"kernels": "torch"}, {"engine": "reference"}])
@pytest.mark.parametrize("scan", [make_scan(), turned()], ids=["upright", "turned"])
def test_logits_and_hosts_of_lesions(small_weights: Path, scan: nib.Nifti1Image, how: dict[str, str]) -> None:
    segmenter = Segmenter(small_weights, device="cpu", **how)
    result = segmenter.segment(scan, ASKED, details=True)
    found = statistics(result)
    assert found.lesions
    volume = segmenter.prepare(scan).volume
    numbers = np.arange(1, volume.voxels.numel() + 1).reshape(volume.voxels.shape)
    source = restore(numbers, volume.frame)
    for name, hosts in HOSTS.items():
        labels, count = ndimage.label(result.mask(name), np.ones((3, 3, 3)))
        lesions = [lesion for lesion in found.lesions if lesion.class_name == name]
        assert len(lesions) == count
        logits = segmenter.blended_logits(volume, name)[0].numpy().ravel()
        together = {host: segmenter.segment(scan, hosts).mask(host) for host in hosts}
        expected = sorted(
            lesion_of(labels == n, logits[source[labels == n] - 1], together) for n in range(1, count + 1)
        )
        actual = sorted(
            (x.voxels, x.mean_logit, x.max_logit, x.host, x.host_share, x.host_distance_mm is None) for x in lesions
        )
        for one, other in zip(actual, expected, strict=True):
            assert one[0] == other[0]
            assert one[1:3] == pytest.approx(other[1:3], rel=1e-4, abs=1e-5)
            assert one[3] == other[3]
            assert one[4] == pytest.approx(other[4])
            assert one[5] == other[5]


def lesion_of(part: np.ndarray, logits: np.ndarray, hosts: dict[str, np.ndarray]) -> tuple:
    shares = {name: float((part & mask).sum() / part.sum()) for name, mask in hosts.items()}
    host = max(shares, key=lambda name: shares[name])
    nowhere = not any(mask.any() for mask in hosts.values())
    return int(part.sum()), logits.mean(), logits.max(), host if shares[host] else None, shares[host], nowhere


@pytest.mark.parametrize("windows", ["all", "adaptive"])
def test_details_change_no_mask(small_weights: Path, scan_file: Path, windows: str) -> None:
    segmenter = Segmenter(small_weights, device="cpu")
    asked = "liver,liver_tumor,kidney_tumor,right_kidney,left_kidney"
    plain = segmenter.segment(scan_file, asked, windows=windows)
    result = segmenter.segment(scan_file, asked, windows=windows, details=True)
    assert plain.details is None
    for c in plain.classes:
        assert np.array_equal(plain.mask(c.name), result.mask(c.name))
    lesions = {lesion.id: lesion for lesion in statistics(result).lesions}
    for lesion in statistics(plain).lesions:
        assert lesion.mean_logit is None
        assert lesion.voxels == lesions[lesion.id].voxels
        assert 0 < lesions[lesion.id].mean_logit <= lesions[lesion.id].max_logit


def test_how_much_of_a_prediction_is_kept(small_weights: Path, scan_file: Path) -> None:
    segmenter = Segmenter(small_weights, device="cpu")
    decided = segmenter.decide(segmenter.prepare(scan_file), "liver,hepatic_vessel")
    result = segmenter.finish(decided)
    assert result.kept_shares["hepatic_vessel"] == 1.0
    labels, _ = ndimage.label(decided.bits.mask("liver"), np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    assert result.kept_shares["liver"] == pytest.approx(sizes.max() / sizes.sum())
