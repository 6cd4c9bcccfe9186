from collections.abc import Callable

import nibabel as nib
import numpy as np
import pytest

from umlite.volume.reading import Scan, read_scan


@pytest.fixture
def scan_of() -> Callable[[np.ndarray, np.ndarray], Scan]:
    return lambda data, affine: read_scan(nib.Nifti1Image(data, affine), force_geometry=True)
