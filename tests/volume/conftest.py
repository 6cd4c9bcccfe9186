import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from umlite.volume.reading import Scan, read_scan


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = Path(os.environ.get("UMLITE_SHARED", Path(__file__).parents[3] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"shared data not found in {folder}; set UMLITE_SHARED")
    return folder


@pytest.fixture
def scan_of() -> Callable[[np.ndarray, np.ndarray], Scan]:
    return lambda data, affine: read_scan(nib.Nifti1Image(data, affine))
