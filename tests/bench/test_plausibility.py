"""The measurement of the checks: faults of phantoms are noticed, good phantoms are not blamed."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import pytest

from bench import plausibility
from umlite.phantom import make_phantom


def test_faults_and_good_scans(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    nib.save(make_phantom(5, (5, 5, 5)).image(), tmp_path / "scan.nii.gz")
    plausibility.main(["--phantoms", "1", str(tmp_path)])
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["scans"] == 2
    assert len(report["noticed"]) >= 20
    assert set(report["noticed"].values()) == {2}
    assert report["blamed"] == {}
