"""The benchmark of predictions runs from end to end on small scans, and its last line is JSON."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from umlite.phantom import Phantom

ROOT = Path(__file__).parents[2]


@pytest.fixture
def prediction(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, which lies beside the package."""
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("bench.prediction")


@pytest.mark.slow
def test_prediction() -> None:
    command = [sys.executable, "-m", "bench.prediction", "--quick", "--threads", "1", "--classes", "liver"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    data = json.loads(done.stdout.splitlines()[-1])
    for row in data["scans"]:
        assert row["predicted"]["windows"] > 0
        assert row["actual"]["seconds"] > 0
        assert abs(row["peak_gb_error"]) < 0.5
    assert data["worst_seconds_error"] >= 0


def test_ten_shapes_of_three_fields_of_view(prediction: ModuleType) -> None:
    assert len(set(prediction.SHAPES)) == 10
    assert len({seed for seed, _ in prediction.SHAPES}) == 3


@pytest.mark.parametrize("spacing", [(1.5, 1.5, 1.0), (6.0, 4.0, 3.0)])
def test_stretched_keeps_the_extent(
    spacing: tuple[float, float, float], prediction: ModuleType, tmp_path: Path
) -> None:
    hu = np.random.default_rng(0).integers(-1000, 1000, (12, 10, 8)).astype(np.float32)
    source = object.__new__(Phantom)
    object.__setattr__(source, "hu", hu)
    object.__setattr__(source, "affine", np.diag([3.0, 3.0, 3.0, 1.0]))
    image = prediction.stretched(source, spacing)
    extents = np.array(image.shape) * spacing
    np.testing.assert_allclose(extents, np.array(hu.shape) * 3.0, atol=max(spacing))
    assert image.get_data_dtype() == np.int16
    assert abs(int(image.dataobj[0, 0, 0]) - int(hu[0, 0, 0])) < 40
    kept = tmp_path / "phantom_1_1.5_1.5_1.nii.gz"
    kept.write_bytes(b"there")
    assert prediction.scan_file(tmp_path, 1, (1.5, 1.5, 1.0), 3.0).read_bytes() == b"there"
