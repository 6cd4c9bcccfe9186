"""A peak is seen, and forgotten where the system allows."""

from __future__ import annotations

import numpy as np

from umlite.measurement.peak_memory import peak_bytes, resident_bytes, start_peak

LARGE = 200_000_000


def test_peak_of_a_large_array() -> None:
    resets = start_peak()
    before = peak_bytes()
    array = np.ones(LARGE, np.uint8)
    assert resident_bytes() >= LARGE
    del array
    assert peak_bytes() >= before + 0.9 * LARGE or not resets
    if start_peak():
        assert peak_bytes() < before + 0.5 * LARGE
