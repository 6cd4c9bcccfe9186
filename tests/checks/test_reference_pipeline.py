"""The reference pipeline gives the masks that umlite gives: both sides of a benchmark do the same work."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from support.samples import make_scan
from umlite import Segmenter
from umlite.checks.reference_pipeline import ReferencePipeline


@pytest.fixture(scope="module")
def lps_scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As hospitals store them; 3.13 mm, so that no voxel lies exactly between two of the model's 4 mm ones."""
    image = make_scan((44, 40, 30), 3.13)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    path = tmp_path_factory.mktemp("scans") / "lps.nii.gz"
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), path)
    return path


def test_same_masks_as_umlite(lps_scan: Path, small_weights: Path, tmp_path: Path) -> None:
    run = ReferencePipeline(small_weights).run(lps_scan, tmp_path, "organs")
    result = Segmenter(small_weights, device="cpu", engine="reference").segment(lps_scan, "organs")
    assert run.windows == run.windows_run == result.windows.total
    assert not run.is_extrapolated
    differing = 0
    for anatomy in result.classes:
        image = nib.load(tmp_path / f"{anatomy.name}.nii.gz")
        np.testing.assert_allclose(image.affine, result.affine, atol=1e-5)
        differing += np.count_nonzero(np.asarray(image.dataobj).astype(bool) != result.mask(anatomy.name))
    assert differing <= 1e-4 * sum(result.voxels.values())


def test_sampled_windows_and_files_are_extrapolated(scan_file: Path, small_weights: Path, tmp_path: Path) -> None:
    run = ReferencePipeline(small_weights).run(scan_file, tmp_path, "liver,spleen,aorta", windows=4, files=1)
    assert run.is_extrapolated
    assert (run.windows_run, run.files, run.files_written) == (4, 3, 1)
    assert run.windows > 4
    assert len(list(tmp_path.glob("*.nii.gz"))) == 1
    assert run.seconds == pytest.approx(sum(run.timings.values()))
